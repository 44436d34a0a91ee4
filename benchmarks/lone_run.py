"""One run of a race as a race of its own, in a process and a lab of its own, or as it was kept from before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from app.__main__ import opened_store
from app.race.conductor import is_as_planned
from app.race.plan import Entrant, RacePlan, plan_of
from app.recipes import load_recipe
from app.settings import Settings
from app.store.rows import RacePoint, RaceRunRow, RunState
from dgpo_core.config import RunConfig, from_dict
from dgpo_core.data.prompts import load_prompt_set
from dgpo_core.errors import ConfigError


def single(plan: RacePlan, entrant: Entrant, rate: float, seed: int, *, is_tuning: bool) -> dict[str, Any]:
    """The plan of one run of the race, as a race of its own; the target is that of the whole one."""
    minutes = plan.rules.tuning_minutes if is_tuning else plan.rules.minutes
    lone = replace(
        plan,
        rules=replace(plan.rules, minutes=minutes, against=entrant.name),
        entrants=(entrant,),
        seeds=(seed,),
        learning_rates=(rate,),
    )
    return lone.as_dict()


class LabRace:
    """A race in a process and a lab of its own, whose words go to a file beside the lab."""

    def __init__(self, name: str, plan: dict[str, Any], folder: Path) -> None:
        self.folder, self._plan = folder, plan_of(plan, name)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._race = self.folder / f"{name}.yaml"
        self._race.write_text(yaml.safe_dump(plan, sort_keys=False))
        self._lessons = [Path(place) for place in plan.get("prepare", {})]

    @property
    def lacks_groups(self) -> bool:
        """Whether its first act will be to have the base draw the groups that it learns from."""
        return not all(place.exists() for place in self._lessons)

    def start(self, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """The process, with these words in its environment."""
        command = [sys.executable, "-m", "app", "race", str(self._race), "--folder", str(self.folder / "lab")]
        with (self.folder / "said.txt").open("ab") as said:
            return subprocess.Popen(command, stdout=said, stderr=said, env=os.environ | settings)

    @property
    def last_words(self) -> str:
        """The last line that its process wrote."""
        said = self.folder / "said.txt"
        lines = said.read_text(errors="replace").split("\n") if said.exists() else []
        return next((line for line in reversed(lines) if line.strip()), "it said nothing.")

    @property
    def is_over(self) -> bool:
        return bool(self.rows(only_ended=True))

    def rows(self, *, only_ended: bool = False) -> list[RaceRunRow]:
        """What its lab knows of its runs; nothing where they failed before the first step, or were of another plan."""
        settings = Settings(folder=self.folder / "lab")
        if not settings.database.exists():
            return []
        with opened_store(settings) as (reader, _):
            races = [race for race in reader.races() if race.ended is not None or not only_ended]
            mine = next((race for race in races if is_as_planned(race, self._plan, reader)), None)
            return reader.race_runs(mine.id) if mine else []


class LoneRun(LabRace):
    """One run of a race, as a race in a lab of its own; made again only where no known run is this one."""

    def __init__(
        self,
        plan: RacePlan,
        entrant: Entrant,
        rate: float,
        seed: int,
        work: Path,
        *,
        is_tuning: bool,
        known: Sequence[RaceRunRow] = (),
    ) -> None:
        self._is_tuning = is_tuning
        me = (entrant.name, rate, seed, is_tuning)
        self._known = [run for run in known if (run.entrant, run.learning_rate, run.seed, run.is_tuning) == me]
        folder = work / f"{entrant.name}-{rate:g}-seed-{seed}{'-tuning' if is_tuning else ''}"
        super().__init__(plan.name, single(plan, entrant, rate, seed, is_tuning=is_tuning), folder)

    def rows(self, *, only_ended: bool = False) -> list[RaceRunRow]:
        return self._known or [replace(row, is_tuning=self._is_tuning) for row in super().rows(only_ended=only_ended)]


def rows_from(kept_runs: Sequence[dict[str, Any]]) -> list[RaceRunRow]:
    """The runs of a kept result, as the store would give them."""
    return [
        RaceRunRow(
            **{key: value for key, value in run.items() if key not in ("points", "state")},
            state=RunState(run["state"]),
            points=tuple(
                RacePoint(**point | {"quality": tuple((name, value) for name, value in point["quality"])})
                for point in run["points"]
            ),
        )
        for run in kept_runs
    ]


def prompts_hash(recipe: RunConfig) -> str:
    """A hash of the prompts that a recipe trains on and is examined on, whose sets may change under their names.

    Raises:
        PromptError: there is no such set.
    """
    texts = [load_prompt_set(name).prompts for name in (recipe.prompts.train, recipe.prompts.heldout)]
    return sha256(json.dumps(texts).encode()).hexdigest()


def check_same_plan(plan: RacePlan, result: Mapping[str, Any] | None, label: str) -> None:
    """Refuses a plan in whose name the result of another one is kept, which it would replace.

    Entrants and seeds may differ: those that are named are made, or taken from the kept result.

    Raises:
        ConfigError: the plans differ in anything else; the message says where.
    """
    if result is None:
        return
    before, now = _without_runners(plan_of(result["plan"], result["name"])), _without_runners(plan)
    if (path := next((path for path in now if path in before and before[path] != now[path]), None)) is not None:
        raise ConfigError(
            f"race-{label} is kept of a race whose {path} was {before[path]!r}, and this one's is {now[path]!r}, so it "
            "would be lost. Give this race's result a name of its own with --label."
        )


def _without_runners(plan: RacePlan) -> dict[str, Any]:
    """What a plan says but for entrants and seeds; of what is prepared, each folder, since others may learn from it."""
    values = {"name": plan.name} | plan.as_dict()
    prepared = {f"prepare {folder}": changes for folder, changes in values.pop("prepare", {}).items()}
    return {key: value for key, value in values.items() if key not in ("entrants", "seeds")} | prepared


def known_runs(plan: RacePlan, result: Mapping[str, Any] | None) -> list[RaceRunRow]:
    """The runs of a kept result that this race would make again as they were: of the same recipe, rules and settings.

    Those that failed, or were cut before they had all their pictures, are not among them; nor is any of a race that
    minutes alone bound, since how much a run does in a minute is the machine's, or of other prompts, or of a result
    that does not say of which.
    """
    recipe = load_recipe(plan.rules.recipe)
    if result is None or from_dict(result.get("recipe", {})) != recipe or result.get("prompts") != prompts_hash(recipe):
        return []
    before = plan_of(result["plan"], result["name"])
    entrants, past = ({one.name: one for one in whole.entrants} for whole in (plan, before))

    def is_known(run: RaceRunRow) -> bool:
        if run.entrant not in entrants or run.has_failed or not run.points:
            return False
        mine = single(plan, entrants[run.entrant], run.learning_rate, run.seed, is_tuning=run.is_tuning)
        its = single(before, past[run.entrant], run.learning_rate, run.seed, is_tuning=run.is_tuning)
        return mine == its and 0 < plan.rules.pictures <= run.points[-1].pictures

    return [run for run in rows_from(result["runs"]) if is_known(run)]
