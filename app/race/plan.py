"""What a race is: who runs, on what, for how long. Read from a YAML file, every word of it checked before the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from app.recipes import load_recipe, read_yaml
from dgpo_core.config import RunConfig, checked_section, from_dict, knob, to_dict, with_setting
from dgpo_core.errors import ConfigError
from dgpo_core.recipe_check import check

RACES = Path(__file__).parents[2] / "assets" / "races"
LISTS = ("entrants", "seeds", "learning_rates", "prepare")
LARGEST_SEED = 2**31 - 1


OWN_WORDS = {
    "update.learning_rate": "Name the rates to try in learning_rates.",
    "seed": "Name them in seeds.",
    "schedule.evaluation_prompts": "Set examined_prompts.",
    **dict.fromkeys(
        ("reward.evaluation", "prompts.heldout", "schedule.evaluation_sampling_steps"),
        "All are examined alike; change it in the recipe.",
    ),
}
OTHERWISE = "Leave it out."


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceRules:
    """What holds for every entrant alike."""

    recipe: str = knob("shapes", "Recipe that every entrant starts from.")
    minutes: float = knob(10.0, "Minutes of training for each entrant and seed.", low=0.01, high=100_000)
    pictures: int = knob(0, "Pictures after which an entrant has had enough as well; 0 is no limit.", low=0)
    turn_minutes: float = knob(1.0, "Minutes that an entrant trains before the next one's turn.", low=1e-4, high=1000)
    tuning_minutes: float = knob(
        2.0, "Minutes for each learning rate of the grid, when there are several.", low=0.01, high=1000
    )
    tuning_seed: int = knob(1000, "Seed of the runs that try learning rates.", low=0, high=LARGEST_SEED)
    examined_prompts: int = knob(120, "Held-out prompts of the examination after every turn.", low=1, high=10_000)
    against: str = knob("flow_grpo", "Entrant whose best score the others are to reach, if no target is given.")
    target: float = knob(0.0, "Score to reach; 0 takes the best of `against`, seed by seed.", low=0, high=1)


@dataclass(frozen=True, slots=True)
class Entrant:
    """One who runs: a name, and its settings where they differ from the recipe, by dotted path."""

    name: str
    changes: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Preparation:
    """Groups that the base draws before the race into a folder, and its settings where they differ from the recipe."""

    folder: str
    changes: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RacePlan:
    """A whole race. is_rate_the_recipes: no learning rates were given, so that the recipe's is the only one."""

    name: str
    rules: RaceRules = field(default_factory=RaceRules)
    entrants: tuple[Entrant, ...]
    seeds: tuple[int, ...]
    learning_rates: tuple[float, ...]
    preparations: tuple[Preparation, ...] = ()
    is_rate_the_recipes: bool = field(default=False, compare=False)

    def config_of(self, entrant: Entrant, *, learning_rate: float, seed: int) -> RunConfig:
        """The settings of one run of the race. It is examined when the race asks, not by steps, and as all others.

        Raises:
            ConfigError: the entrant changes what the race sets, or a setting is unknown or out of range.
        """
        recipe = load_recipe(self.rules.recipe)
        here: dict[str, Any] = {
            "name": f"{self.name}: {entrant.name}, rate {learning_rate:g}, seed {seed}"[:200],
            "seed": seed,
            "update.learning_rate": learning_rate,
            "reward.on_alarm": "warn",  # nobody is there to resume a run that pauses
            "schedule.num_steps": 1_000_000,
            "schedule.evaluate_every": 0,
            "prompts.heldout": recipe.prompts.heldout,
            "reward.evaluation": recipe.reward.evaluation,
            "schedule.evaluation_prompts": self.rules.examined_prompts,
            "schedule.evaluation_sampling_steps": recipe.examined_in_steps,
            "schedule.checkpoint_every": 100_000,
            "schedule.checkpoints_kept": 1,
        }
        return _changed(recipe, entrant.changes, here, OWN_WORDS)

    def drawing_config(self, preparation: Preparation) -> RunConfig:
        """The settings of a run that only draws: with a learning rate of 0 the base stays as it is.

        Raises:
            ConfigError: as config_of.
        """
        here = {
            "name": f"{self.name}: groups for {preparation.folder}"[:200],
            "update.learning_rate": 0.0,
            "update.inner_epochs": 1,
            "loss.num_sigmas": 1,
            "reward.on_alarm": "warn",
            "schedule.evaluate_every": 0,
            "schedule.evaluation_prompts": 1,
            "schedule.checkpoint_every": 100_000,
            "schedule.checkpoints_kept": 1,
        }
        return _changed(load_recipe(self.rules.recipe), preparation.changes, here, {})

    def is_learned_from(self, preparation: Preparation) -> bool:
        """Whether an entrant learns from the folder that is prepared."""
        return any(("rollout.stored_groups", preparation.folder) in one.changes for one in self.entrants)

    def as_dict(self) -> dict[str, Any]:
        """The plan as it is written in YAML, without what is prepared for entrants who are not in it."""
        entrants = {entrant.name: dict(entrant.changes) for entrant in self.entrants}
        lists = {"seeds": list(self.seeds), "learning_rates": list(self.learning_rates), "entrants": entrants}
        prepare = {one.folder: dict(one.changes) for one in self.preparations if self.is_learned_from(one)}
        return to_dict(self.rules) | lists | ({"prepare": prepare} if prepare else {})


def _changed(
    recipe: RunConfig, changes: Sequence[tuple[str, Any]], here: Mapping[str, Any], advice: Mapping[str, str]
) -> RunConfig:
    """The recipe with these changes and what the race sets itself, which no change may be of."""
    taken = next((path for path, _ in changes if path in here), "")
    if taken:
        raise ConfigError(f"{taken} is the race's to set. {advice.get(taken, OTHERWISE)}")
    values = to_dict(recipe)
    for path, value in [*changes, *here.items()]:
        values = with_setting(values, path, value)
    return from_dict(values)


def list_races(folder: Path = RACES) -> list[str]:
    """Names of the races that ship with the lab."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_race(name_or_path: str, folder: Path = RACES) -> RacePlan:
    """A shipped race (by name) or any YAML file (by path).

    Raises:
        ConfigError: no such file, not YAML, or a plan that cannot be run; the message says what is wrong where.
    """
    path = folder / f"{name_or_path}.yaml" if name_or_path in list_races(folder) else Path(name_or_path)
    try:
        text = path.read_bytes()
    except (OSError, ValueError) as error:  # not there, no name of a file at all, or not to be read
        known, shown = ", ".join(list_races(folder)) or "none", name_or_path[:80]
        raise ConfigError(f"There is no race {shown!r}. Known: {known}; or give the path of a YAML file.") from error
    return checked_plan(read_yaml(text, path.name), path.stem)


def checked_plan(values: Any, name: str) -> RacePlan:
    """A plan from the plain values of its file, every entrant of which can begin.

    Raises:
        ConfigError: as load_race.
    """
    plan = plan_of(values, name)
    for entrant in plan.entrants:
        _check_entrant(plan, entrant)
    for preparation in plan.preparations:
        _check_preparation(plan, preparation)
    return plan


def plan_of(values: Any, name: str) -> RacePlan:
    """A plan from plain values, its entrants' settings not looked at: for races of the past.

    Raises:
        ConfigError: a word of the plan itself is wrong.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"The race {name} must be a group of settings, got {values!r}.")
    rules = checked_section({key: value for key, value in values.items() if key not in LISTS}, RaceRules)
    plan = RacePlan(
        name=name,
        rules=rules,
        entrants=_entrants(values.get("entrants")),
        seeds=_seeds(values.get("seeds", [0, 1, 2])),
        learning_rates=_learning_rates(values.get("learning_rates"), rules.recipe),
        preparations=_preparations(values.get("prepare")),
        is_rate_the_recipes=values.get("learning_rates") is None,
    )
    names = [entrant.name for entrant in plan.entrants]
    if rules.target == 0 and rules.against not in names:
        raise ConfigError(
            f"against is {rules.against!r}, which is no entrant of the race {name}: {', '.join(names)}. "
            "Name one of them, or give a target."
        )
    return plan


def _check_entrant(plan: RacePlan, entrant: Entrant) -> None:
    try:
        config = plan.config_of(entrant, learning_rate=plan.learning_rates[0], seed=plan.seeds[0])
        check(config)
        _check_examined_alike(config, load_recipe(plan.rules.recipe))
    except ConfigError as error:
        raise ConfigError(f"Entrant {entrant.name}: {error}") from None


def _check_examined_alike(config: RunConfig, recipe: RunConfig) -> None:
    """Refuses an entrant whose examinations would be drawn otherwise than the recipe's; its rollouts may well be."""
    own, all_others = _examined_with(config), _examined_with(recipe)
    for path, value in own.items():
        if value != all_others[path]:
            raise ConfigError(
                f"its examinations would be drawn with {path} {value}, and those of the recipe are with "
                f"{all_others[path]}. All are examined alike; leave it out, or change it in the recipe."
            )


def _examined_with(config: RunConfig) -> dict[str, Any]:
    """What an examination is drawn with and config_of does not set."""
    rollout = config.rollout
    return {
        "rollout.sampler": rollout.ode_sampler,
        "rollout.guidance_scale": rollout.guidance_scale,
        "rollout.sigma_shift": rollout.sigma_shift,
    }


def _check_preparation(plan: RacePlan, preparation: Preparation) -> None:
    if not plan.is_learned_from(preparation):
        raise ConfigError(
            f"prepare names the folder {preparation.folder[:80]!r}, from which no entrant learns. Set an entrant's "
            "rollout.stored_groups to it, or leave it out."
        )
    try:
        check(plan.drawing_config(preparation))
    except ConfigError as error:
        raise ConfigError(f"prepare {preparation.folder[:80]}: {error}") from None


def _preparations(given: Any) -> tuple[Preparation, ...]:
    if given is None:
        return ()
    if not isinstance(given, dict) or not all(isinstance(one, dict) for one in given.values()):
        raise ConfigError(
            f"prepare must be folders, each with the settings of the run that draws into it, got {given!r}. "
            "For example: work/groups: {schedule.num_steps: 100}."
        )
    if wrong := [key for changes in given.values() for key in changes if not isinstance(key, str)]:
        raise ConfigError(f"prepare names the setting {wrong[0]!r}. Name one such as schedule.num_steps.")
    return tuple(Preparation(str(folder), tuple(changes.items())) for folder, changes in given.items())


def _entrants(given: Any) -> tuple[Entrant, ...]:
    if not isinstance(given, dict) or not given:
        raise ConfigError(f"entrants must be names, each with its settings, got {given!r}. For example: dgpo: {{}}.")
    entrants = []
    for name, changes in given.items():
        if not isinstance(name, str) or not name.strip() or len(name) > 60 or not name.isprintable():
            raise ConfigError(f"An entrant's name must be 1 to 60 printable characters, got {str(name)[:60]!r}.")
        if changes is not None and not isinstance(changes, dict):
            raise ConfigError(f"Entrant {name} must have settings such as algorithm.name: flow_grpo, got {changes!r}.")
        if wrong := [key for key in changes or {} if not isinstance(key, str)]:
            raise ConfigError(f"Entrant {name} names the setting {wrong[0]!r}. Name one such as algorithm.name.")
        entrants.append(Entrant(name, tuple((changes or {}).items())))
    return tuple(entrants)


def _seeds(given: Any) -> tuple[int, ...]:
    if not _is_list(given) or not all(type(one) is int and 0 <= one <= LARGEST_SEED for one in given):
        raise ConfigError(f"seeds must be whole numbers from 0 up, each once, got {given!r}. For example: [0, 1, 2].")
    return tuple(given)


def _learning_rates(given: Any, recipe: str) -> tuple[float, ...]:
    if given is None:
        return (load_recipe(recipe).update.learning_rate,)
    if not _is_list(given) or not all(type(one) in (int, float) and isfinite(one) and 0 < one <= 1 for one in given):
        raise ConfigError(
            f"learning_rates must be numbers above 0, each once, got {given!r}. For example: [1e-4, 3e-4]."
        )
    return tuple(float(one) for one in given)


def _is_list(given: Any) -> bool:
    return isinstance(given, Sequence) and not isinstance(given, str) and 0 < len(set(map(str, given))) == len(given)
