"""The settings of a run: every knob once, with its help, range and default.

The page draws its controls from here, the command line parses from here, and
docs/settings.md is generated from here. Those of model and reward are in files of their own beside this one.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from math import isfinite
from typing import Any, get_type_hints

from dgpo_core.errors import ConfigError
from dgpo_core.knob import Knob, knob
from dgpo_core.model_config import ModelConfig
from dgpo_core.reward_config import RewardConfig

ALGORITHM_NAMES = ("dgpo", "flow_grpo", "diffusion_nft", "diffusion_dpo", "reward_weighted")
STOCHASTIC_SAMPLERS = ("flow_sde", "flow_cps")


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptsConfig:
    """What is asked of the model, while it trains and when it is examined."""

    train: str = knob(
        "shapes-train",
        "Prompts to train on: a name in assets/prompts, a file (text, JSON lines, CSV, TSV) or datasets:NAME.",
        is_important=True,
    )
    heldout: str = knob("shapes-heldout", "Prompts of the examination, none of them trained on.")
    watch: str = knob("", "Prompts that the watched rewards judge; empty takes those of the examination.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleConfig:
    """People as the reward: every step's groups wait on the Label page for their order."""

    weight: float = knob(
        0.0,
        "Share of people in the reward: 0 asks nobody; above, groups wait on the Label page; 1 is people alone.",
        low=0,
        high=1,
        is_important=True,
    )
    wait_seconds: float = knob(
        0.0, "Seconds that a step waits for labels; 0 waits until every group has one.", low=0, high=1_000_000
    )
    without_label: str = knob(
        "reward",
        "What becomes of a group without a label: its automatic reward counts, the model learned from labels judges "
        "it, or it is skipped.",
        choices=("reward", "model", "skip"),
    )
    groups_asked: int = knob(
        0,
        "Groups per step that people are asked about, those that teach most; 0 asks about all.",
        low=0,
        high=512,
    )
    repeat_share: float = knob(
        0.0, "Share of the asked groups that somebody has judged before and gets again unannounced.", low=0, high=1
    )
    preference: str = knob(
        "",
        "Folder of a learned preference, such as lab/preferences/3/version-2, for the reward preference.",
    )
    clip_folder: str = knob(
        "", "Folder of a CLIP model whose embeddings preferences are learned from; empty takes the pipeline's encoders."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmConfig:
    """What turns rewards into new weights: DGPO, or a rival to compare it with."""

    name: str = knob(
        "dgpo", "DGPO, or one of its rivals on the same groups and rewards.", choices=ALGORITHM_NAMES, is_important=True
    )
    nft_strength: float = knob(
        1.0, "DiffusionNFT: how far its good and bad policies stand from the old one.", low=0.01, high=10
    )
    nft_advantage_clip: float = knob(
        1.0, "DiffusionNFT: the advantage from which on a picture is wholly good; its code has 5.", low=0.1, high=100
    )
    temperature: float = knob(
        1.0, "Reward-weighted: low learns from the best of a group alone, high from all alike.", low=0.01, high=100
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutConfig:
    """How groups are drawn: by an ODE sampler, but for comparisons with a stochastic one."""

    groups_per_step: int = knob(8, "Prompts drawn per step; each gives one group.", low=1, high=512, is_important=True)
    group_size: int = knob(12, "Pictures drawn per prompt.", low=2, high=256, is_important=True)
    sampler: str = knob(
        "euler",
        "ODE sampler; flow_sde and flow_cps are Flow-GRPO's stochastic ones, whose examinations are drawn with euler.",
        choices=("euler", "heun", "dpmpp_2m", "unipc", *STOCHASTIC_SAMPLERS),
    )
    noise_level: float = knob(
        0.7,
        "Noise that flow_sde adds, or for flow_cps how much of the noise is new, 1 being all; the others add none.",
        low=0,
        high=2,
    )
    num_sampling_steps: int = knob(8, "Sampling steps per picture.", low=1, high=100, is_important=True)
    guidance_scale: float = knob(1.0, "Classifier-free guidance; 1 is none, and half the work.", low=1, high=20)
    sigma_shift: float = knob(1.0, "Shift of the sampling sigmas towards noise; SD3.5 uses 3.", low=0.1, high=20)
    stored_groups: str = knob(
        "",
        "Groups to learn from instead of drawing: a folder that python -m app export wrote, or run:7 for those of run "
        "7 of this lab; empty draws.",
    )
    old_policy_from_step: int = knob(
        0,
        "From this step on the old policy draws the groups, if update.old_policy_decay sets it apart.",
        low=0,
        high=1_000_000,
    )

    @property
    def ode_sampler(self) -> str:
        """What pictures that are not learned from are drawn with: euler in the place of a stochastic sampler."""
        return "euler" if self.sampler in STOCHASTIC_SAMPLERS else self.sampler


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """The DGPO loss; docs/method.md has the equations."""

    preference_beta: float = knob(
        500.0,
        "Sharpness of the group preference: higher stops earlier, lower keeps pushing.",
        low=0,
        high=100_000,
        is_important=True,
    )
    kl_weight: float = knob(0.1, "Weight of the pull towards the reference.", low=0, high=100, is_important=True)
    kl_below: float = knob(
        0.0,
        "Weight of the pull towards the reference below sigma_min, where nothing else is trained, on some pictures.",
        low=0,
        high=10_000,
    )
    kl_on_alike: bool = knob(
        False,
        "Groups without a preference, all right or all wrong, are held to the reference too, by some of their pictures "
        "(on), or left out (off).",
    )
    clip_range: float = knob(
        1e-2, "How far a sample may move from the old policy before it is clipped; 0 is off.", low=0, high=1
    )
    clip_kl: bool = knob(
        False, "A picture that clip_range clips is not pulled towards the reference either (on), or still is (off)."
    )
    dual_clip: float = knob(
        0.1,
        "How far a dispreferred sample's error may rise above the frozen reference's before it is pushed no more; "
        "0 is off.",
        low=0,
        high=100,
    )
    sigma_min: float = knob(0.5, "Only noise levels from here up are trained.", low=0, high=0.99)
    num_sigmas: int = knob(2, "Noise levels trained per step.", low=1, high=64)
    shared_noise: bool = knob(
        True, "One training noise for all pictures of a group (on, steadier) or one for each picture (off)."
    )
    text_dropout: float = knob(
        0.0,
        "Share of groups trained without their prompt at a noise level, which keeps guidance usable.",
        low=0,
        high=1,
    )
    sigma_source: str = knob("continuous", "Where trained noise levels come from.", choices=("continuous", "grid"))
    advantage_std: str = knob(
        "group", "Spread that scales advantages: of the own group or of the whole batch.", choices=("group", "batch")
    )
    uniform_weights: bool = knob(
        False, "Only who is above the group's mean counts (on), or also by how much (off, as the paper's best)."
    )
    extremes: int = knob(
        0,
        "Pictures of each group that are trained on, half the best and half the worst; 0 is all of them.",
        low=0,
        high=256,
    )
    advantage_clip: float = knob(5.0, "Advantages are clipped to plus and minus this.", low=0.1, high=100)
    reference: str = knob(
        "old_policy",
        "What the preference is measured against: the frozen reference, or the old policy, which drew the groups or is "
        "an average of earlier ones (update.old_policy_decay).",
        choices=("frozen", "old_policy"),
    )
    reference_every: int = knob(
        0,
        "Steps after which the frozen reference is taken anew from the averaged weights; 0 keeps the start for good.",
        low=0,
        high=1_000_000,
    )
    reference_guidance: float = knob(
        1.0, "Guidance of the frozen reference, where it is measured against; 1 is none.", low=1, high=20
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateConfig:
    """How the loss becomes new weights."""

    learning_rate: float = knob(6e-4, "AdamW learning rate.", low=0, high=1, is_important=True)
    decay_steps: int = knob(
        0,
        "Steps after which the learning rate has fallen to 0.7 of itself, and on with the root of time; 0 keeps it.",
        low=0,
        high=1_000_000,
    )
    weight_decay: float = knob(1e-4, "AdamW weight decay.", low=0, high=1)
    max_grad_norm: float = knob(0.05, "Gradients longer than this are scaled down.", low=1e-6, high=1000)
    per_sigma: bool = knob(True, "One update per noise level (on) or one per step over all of them (off).")
    inner_epochs: int = knob(
        1, "Times the updates of a step go over the same groups, with fresh noise each time.", low=1, high=100
    )
    micro_batch: int = knob(48, "Pictures per forward pass; changes memory, not the result.", low=1, high=4096)
    old_policy_decay: float = knob(
        0.0,
        "Largest share of the old policy that a step keeps; it rises to it by 0.001 a step. At 0 the old policy is the "
        "policy as the step began.",
        low=0,
        high=0.999,
    )
    averaged_decay: float = knob(
        0.9,
        "Largest share of the averaged weights that a step keeps; it rises to it, so that they are an average over the "
        "last tenth of the steps until then.",
        low=0,
        high=0.9999,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    """How long, and what happens along the way."""

    num_steps: int = knob(600, "Steps of the run.", low=1, high=1_000_000, is_important=True)
    evaluate_every: int = knob(25, "Steps between examinations; 0 examines at start and end only.", low=0, high=100_000)
    evaluation_prompts: int = knob(60, "Held-out prompts per examination.", low=1, high=10_000)
    evaluation_sampling_steps: int = knob(
        0,
        "Sampling steps per picture of an examination; 0 takes rollout.num_sampling_steps. Published runs examine in "
        "more steps than they draw groups in: 14 or 40 instead of 10.",
        low=0,
        high=100,
    )
    checkpoint_every: int = knob(25, "Steps between checkpoints; stop and end always save.", low=1, high=100_000)
    checkpoints_kept: int = knob(4, "Newest checkpoints kept on disk.", low=1, high=10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """All settings of one run."""

    name: str = knob("my run", "Name shown in lists.")
    seed: int = knob(0, "Seed of every draw.", low=0, high=2**31 - 1)
    model: ModelConfig = field(default_factory=ModelConfig)
    prompts: PromptsConfig = field(default_factory=PromptsConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    people: PeopleConfig = field(default_factory=PeopleConfig)
    algorithm: AlgorithmConfig = field(default_factory=AlgorithmConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    update: UpdateConfig = field(default_factory=UpdateConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)

    @property
    def examined_in_steps(self) -> int:
        """Sampling steps per picture of an examination."""
        return self.schedule.evaluation_sampling_steps or self.rollout.num_sampling_steps

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > 200 or not self.name.isprintable():
            raise ConfigError(
                f"name must be 1 to 200 printable characters, got {self.name[:40]!r}. Give the run a short name."
            )


@dataclass(frozen=True, slots=True)
class Setting:
    """One knob in place: its dotted path, type, default and limits."""

    path: str
    kind: type
    default: Any
    knob: Knob


type_hints = cache(get_type_hints)


@cache
def settings(config_type: type = RunConfig, prefix: str = "") -> tuple[Setting, ...]:
    """Every setting below a config class, in reading order."""
    hints = type_hints(config_type)
    found: list[Setting] = []
    for one in fields(config_type):
        if is_dataclass(hints[one.name]):
            found += settings(hints[one.name], f"{prefix}{one.name}.")
        else:
            assert one.default is not MISSING
            found.append(Setting(prefix + one.name, hints[one.name], one.default, one.metadata["knob"]))
    return tuple(found)


def to_dict(config: Any) -> dict[str, Any]:
    """The config as nested plain dicts; from_dict gives it back."""
    return {
        one.name: to_dict(value) if is_dataclass(value := getattr(config, one.name)) else value
        for one in fields(config)
    }


def from_dict(values: dict[str, Any]) -> RunConfig:
    """A config with the given nested values, defaults elsewhere.

    Raises:
        ConfigError: unknown setting, wrong type, or out of range; the message names the setting.
    """
    config: RunConfig = checked_section(values, RunConfig)
    return config


def checked_section(values: Any, config_type: type, prefix: str = "") -> Any:
    """A dataclass of knobs from plain values, defaults elsewhere; prefix stands before its settings in messages.

    Raises:
        ConfigError: as from_dict.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{prefix.rstrip('.') or 'A recipe'} must be a group of settings, got {values!r}.")
    hints = type_hints(config_type)
    for key in values:
        if key not in hints:
            raise ConfigError(_unknown(f"{prefix}{key}", [f"{prefix}{name}" for name in hints]))
    given: dict[str, Any] = {}
    for one in fields(config_type):
        if one.name not in values:
            continue
        path, value, kind = prefix + one.name, values[one.name], hints[one.name]
        given[one.name] = (
            checked_section(value, hints[one.name], f"{path}.")
            if is_dataclass(kind)
            else _checked(path, value, kind, one.metadata["knob"])
        )
    return config_type(**given)


def with_setting(values: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Nested values with one dotted path replaced; the path must name a setting."""
    known = [setting.path for setting in settings()]
    if path not in known:
        raise ConfigError(_unknown(path, known))
    head, _, rest = path.partition(".")
    if not rest:
        return values | {head: value}
    return values | {head: values.get(head, {}) | {rest: value}}


def _unknown(path: str, known: list[str]) -> str:
    close = get_close_matches(path, known, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]}?" if close else f"Known here: {', '.join(known)}."
    return f"{path} is not a setting. {hint}"


def _checked(path: str, value: Any, kind: type, knob: Knob) -> Any:
    """The value in its declared type and range, or a ConfigError that names the setting."""
    right_type = isinstance(value, kind) and not (kind is not bool and isinstance(value, bool))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value, right_type = float(value), True
    if kind is int and isinstance(value, float) and value.is_integer():
        value, right_type = int(value), True
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    if not right_type or (kind is float and not isfinite(value)):
        allowed = f"Allowed: {knob.allowed()}." if knob.allowed() else knob.help
        raise ConfigError(f"{path} must be {names[kind]}, got {value!r}. {allowed}")
    below = knob.low is not None and value < knob.low
    above = knob.high is not None and value > knob.high
    if below or above or (knob.choices and value not in knob.choices):
        raise ConfigError(f"{path} must be {knob.allowed()}, got {value!r}. {knob.help}")
    return value
