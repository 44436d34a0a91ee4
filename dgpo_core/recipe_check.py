"""What is unwise about a recipe: settings that together are known to go wrong, or that do nothing."""

from __future__ import annotations

import re
from collections.abc import Callable

from dgpo_core.config import STOCHASTIC_SAMPLER, RolloutConfig, RunConfig, settings
from dgpo_core.errors import ConfigError
from dgpo_core.reward_names import PREFERENCE

SMALLEST_GOOD_GROUP = 8
LEAST_BETA_FOR_MOVING_REFERENCE = 50
WIDEST_CLIP_THAT_FIRES = 0.1
LARGEST_STEADY_RATE = 3e-3
FEW_STEP_MARKS = (
    "turbo",
    "schnell",
    "lightning",
    "lcm",
    "hyper",
    "sprint",
    "dmd",
    "dmd2",
    "klein",
    "flash",
    "distilled",
)
LET_THE_POLICY_MOVE = "Raise update.old_policy_decay or update.inner_epochs, or turn update.per_sigma on."


def check(config: RunConfig) -> None:
    """Refuses settings that contradict each other, so that no run could make a step.

    Raises:
        ConfigError: more noise levels are to be trained than the sampling grid has above the least one, a single
            picture of each group is to be trained on, Flow-GRPO is asked to learn from a sampler without noise,
            Diffusion-DPO to compare without a beta, or a learned preference is not named.
    """
    _check_noise_levels(config)
    if config.loss.extremes == 1:
        raise ConfigError(
            "loss.extremes is 1, but one picture of a group has nothing to be better than. "
            "Set it to 2 or more, or to 0 to train on all pictures."
        )
    if PREFERENCE in config.reward.names and not config.people.preference:
        raise ConfigError(
            "The reward preference is what was learned from labels, but people.preference names none. Set it to a "
            "version's folder, such as lab/preferences/3/version-2, or choose another reward."
        )
    if config.algorithm.name == "diffusion_dpo" and config.loss.preference_beta == 0:
        raise ConfigError(
            "algorithm.name is diffusion_dpo, which compares by loss.preference_beta, but that is 0. Set it above 0; "
            "recipes here have 10 to 1000."
        )
    if config.algorithm.name == "flow_grpo":
        _check_paths(config.rollout)


def _check_paths(rollout: RolloutConfig) -> None:
    if rollout.stored_groups:
        raise ConfigError(
            "algorithm.name is flow_grpo, which learns from the paths of its own pictures, but rollout.stored_groups "
            "gives pictures without paths. Leave it empty, or choose another algorithm."
        )
    if rollout.sampler != STOCHASTIC_SAMPLER:
        raise ConfigError(
            f"algorithm.name is flow_grpo, which learns from the noise of a stochastic sampler, but rollout.sampler is "
            f"{rollout.sampler}. Set rollout.sampler to {STOCHASTIC_SAMPLER}."
        )
    if rollout.noise_level == 0:
        raise ConfigError(
            "algorithm.name is flow_grpo, which learns from the noise of the sampler, but rollout.noise_level is 0. "
            "Set it above 0; its authors have 0.7."
        )


def _check_noise_levels(config: RunConfig) -> None:
    loss, num_sampled = config.loss, config.rollout.num_sampling_steps
    even = [index / num_sampled for index in range(1, num_sampled + 1)]
    shift = config.rollout.sigma_shift
    num_allowed = sum(shift * sigma / (1 + (shift - 1) * sigma) >= loss.sigma_min for sigma in even)
    is_on_path = config.algorithm.name == "flow_grpo"
    if is_on_path:
        num_allowed = min(num_allowed, num_sampled - 1)
    if (is_on_path or loss.sigma_source == "grid") and num_allowed < loss.num_sigmas:
        way_out = "." if is_on_path else ", or set loss.sigma_source to continuous."
        raise ConfigError(
            f"loss.num_sigmas is {loss.num_sigmas}, but only {num_allowed} of the {num_sampled} sampling sigmas are at "
            f"least loss.sigma_min = {loss.sigma_min:g}{' and have noise' if is_on_path else ''}. "
            f"Lower one of the two{way_out}"
        )


def cautions(config: RunConfig) -> tuple[str, ...]:
    """What to reconsider, in words; nothing for a sound recipe. The run may be started all the same."""
    return tuple(words for words in (rule(config) for rule in RULES) if words)


READ_BY = {
    "algorithm.nft_strength": ("diffusion_nft",),
    "algorithm.nft_advantage_clip": ("diffusion_nft",),
    "algorithm.temperature": ("reward_weighted",),
    "loss.preference_beta": ("dgpo", "diffusion_dpo"),
    "loss.clip_range": ("dgpo", "flow_grpo"),
    "loss.dual_clip": ("dgpo",),
    "loss.reference": ("dgpo", "diffusion_dpo"),
    "loss.shared_noise": ("dgpo", "diffusion_nft", "diffusion_dpo", "reward_weighted"),
    "loss.text_dropout": ("dgpo", "diffusion_nft", "diffusion_dpo", "reward_weighted"),
    "loss.kl_below": ("dgpo", "diffusion_nft", "diffusion_dpo", "reward_weighted"),
    "loss.sigma_source": ("dgpo", "diffusion_nft", "diffusion_dpo", "reward_weighted"),
}
"""Settings that not every algorithm reads, and which do."""

READ_WHERE_DRAWN = (
    "prompts.train",
    "reward.train",
    "rollout.group_size",
    "rollout.old_policy_from_step",
    "people.weight",
)


def _unread(config: RunConfig) -> str:
    """Settings that were changed and that the algorithm does not read."""
    name, values = config.algorithm.name, {setting.path: setting.default for setting in settings()}
    changed = [
        path for path, readers in READ_BY.items() if name not in readers and _value_at(config, path) != values[path]
    ]
    if not changed:
        return ""
    do = "do" if len(changed) > 1 else "does"
    return (
        f"{', '.join(changed)} {do} nothing: algorithm.name is {name}. Leave them as they are, or change the algorithm."
    )


def _idle_drawing(config: RunConfig) -> str:
    """Settings of drawing that were changed although nothing is drawn to learn from."""
    values = {setting.path: setting.default for setting in settings()}
    changed = [path for path in READ_WHERE_DRAWN if _value_at(config, path) != values[path]]
    if not config.rollout.stored_groups or not changed:
        return ""
    do = "do" if len(changed) > 1 else "does"
    return (
        f"{', '.join(changed)} {do} nothing: the groups of rollout.stored_groups are learned from, and none is drawn."
    )


READ_WHERE_PEOPLE_ARE = ("people.wait_seconds", "people.without_label", "people.groups_asked", "people.repeat_share")


def _idle_people(config: RunConfig) -> str:
    """Settings of people that were changed although nobody is asked."""
    values = {setting.path: setting.default for setting in settings()}
    changed = [path for path in READ_WHERE_PEOPLE_ARE if _value_at(config, path) != values[path]]
    if config.people.weight > 0 or not changed:
        return ""
    do = "do" if len(changed) > 1 else "does"
    return f"{', '.join(changed)} {do} nothing: people.weight is 0, so nobody is asked. Raise it to ask people."


def _value_at(config: RunConfig, path: str) -> object:
    section, _, name = path.partition(".")
    return getattr(getattr(config, section), name)


def _idle_noise_level(config: RunConfig) -> str:
    rollout = config.rollout
    if rollout.sampler != STOCHASTIC_SAMPLER and rollout.noise_level != RolloutConfig().noise_level:
        return (
            f"rollout.noise_level does nothing: the sampler {rollout.sampler} adds no noise. "
            f"Set rollout.sampler to {STOCHASTIC_SAMPLER} to use it."
        )
    return ""


def _noise_for_nothing(config: RunConfig) -> str:
    if config.rollout.sampler == STOCHASTIC_SAMPLER and config.algorithm.name != "flow_grpo":
        return (
            f"rollout.sampler = {STOCHASTIC_SAMPLER} draws worse pictures than an ODE sampler in as many steps, and "
            f"{config.algorithm.name} does not need its noise. Set it to euler, unless you want to compare."
        )
    return ""


def _compares(config: RunConfig) -> bool:
    """Whether the algorithm compares errors with those of loss.reference."""
    return config.algorithm.name in READ_BY["loss.reference"]


def _drifts(config: RunConfig) -> str:
    loss = config.loss
    if not _compares(config):
        return ""
    if loss.reference == "frozen" and loss.reference_guidance == 1 and config.rollout.guidance_scale == 1:
        return (
            "Groups are drawn without guidance and compared with the frozen start without guidance: runs drift so. "
            "Set loss.reference to old_policy, or loss.reference_guidance above 1."
        )
    return ""


def _never_gated(config: RunConfig) -> str:
    loss = config.loss
    is_moving = loss.reference == "old_policy" and _compares(config)
    if is_moving and 0 < loss.preference_beta < LEAST_BETA_FOR_MOVING_REFERENCE:
        return (
            f"loss.preference_beta = {loss.preference_beta:g} is small for a reference that follows the policy: the "
            "gate never closes and the reward may be gamed. Try 100 to 1000."
        )
    return ""


def _small_groups(config: RunConfig) -> str:
    size = config.rollout.group_size
    if size < SMALLEST_GOOD_GROUP and not config.rollout.stored_groups:
        return (
            f"Groups of {size} seldom hold both good and bad pictures. Set rollout.group_size to "
            f"{SMALLEST_GOOD_GROUP} or more; the paper has 24."
        )
    return ""


def _idle_extremes(config: RunConfig) -> str:
    size = config.rollout.group_size
    if config.loss.extremes >= size and not config.rollout.stored_groups:
        return (
            f"loss.extremes = {config.loss.extremes} does nothing: a group has only {size} pictures, and all are "
            "trained on. Set it below rollout.group_size, or to 0."
        )
    return ""


def _wide_clip(config: RunConfig) -> str:
    if config.algorithm.name == "dgpo" and config.loss.clip_range > WIDEST_CLIP_THAT_FIRES:
        return (
            f"loss.clip_range = {config.loss.clip_range:g} is so wide that no sample is ever clipped. Errors move by "
            "thousandths in a step: try 0.002, or 0 to have no clip."
        )
    return ""


def _unbounded_push(config: RunConfig) -> str:
    loss = config.loss
    if config.algorithm.name == "dgpo" and loss.reference == "old_policy" and loss.dual_clip == 0:
        return (
            "loss.dual_clip = 0 leaves nothing to bound how far dispreferred pictures are pushed away while the "
            "reference moves along; pictures fall apart after some hundred steps. Set it to 0.1, or loss.reference to "
            "frozen."
        )
    return ""


def _is_old_the_policy_itself(config: RunConfig) -> bool:
    """Whether every update is measured against exactly the weights that it starts from."""
    update = config.update
    is_one_update = not update.per_sigma or config.loss.num_sigmas == 1
    return update.old_policy_decay == 0 and update.inner_epochs == 1 and is_one_update


def _idle_clip(config: RunConfig) -> str:
    if config.loss.clip_range > 0 and config.algorithm.name == "dgpo" and _is_old_the_policy_itself(config):
        return (
            "loss.clip_range does nothing: with one update per step the policy has not moved from the old policy yet. "
            + LET_THE_POLICY_MOVE
        )
    return ""


def _idle_beta(config: RunConfig) -> str:
    if config.loss.reference == "old_policy" and config.algorithm.name == "dgpo" and _is_old_the_policy_itself(config):
        return (
            "loss.preference_beta does nothing: with one update per step every gate is one half. " + LET_THE_POLICY_MOVE
        )
    return ""


def _idle_reference_guidance(config: RunConfig) -> str:
    loss = config.loss
    is_compared = loss.reference == "frozen" and _compares(config)
    if loss.reference_guidance != 1 and not is_compared and loss.kl_weight == loss.dual_clip == 0:
        return (
            "loss.reference_guidance does nothing: the frozen start is not used. Set loss.reference to frozen, or "
            "loss.kl_weight above 0."
        )
    return ""


def _idle_kl_below(config: RunConfig) -> str:
    if config.loss.kl_below > 0 and config.loss.sigma_min == 0:
        return "loss.kl_below does nothing: loss.sigma_min is 0, and nothing lies below it. Raise loss.sigma_min."
    return ""


def _idle_switch(config: RunConfig) -> str:
    if config.rollout.old_policy_from_step > 0 and config.update.old_policy_decay == 0:
        return (
            "rollout.old_policy_from_step does nothing: the old policy is the policy itself. "
            "Set update.old_policy_decay above 0; the paper has 0.3."
        )
    return ""


def _few_step_base(config: RunConfig) -> str:
    """Names are all that is known before loading; distilled models carry it in theirs."""
    name = config.model.folder.lower().replace("\\", "/").rstrip("/").rpartition("/")[2]
    marks = [mark for mark in FEW_STEP_MARKS if mark in re.split(r"[^a-z0-9]+", name)]
    if marks:
        return (
            f"model.folder names a {marks[0]} model, one distilled to draw in a few steps. A loss on noisy pictures "
            "undoes the distillation: pictures blur within some hundred steps. Choose the model it was distilled from."
        )
    return ""


def _high_rate(config: RunConfig) -> str:
    if config.update.learning_rate > LARGEST_STEADY_RATE:
        return (
            f"update.learning_rate = {config.update.learning_rate:g} is high for a LoRA; pictures may turn to noise. "
            "Try 0.0003."
        )
    return ""


def _never_examined(config: RunConfig) -> str:
    schedule = config.schedule
    if schedule.evaluate_every > schedule.num_steps:
        return (
            f"schedule.evaluate_every = {schedule.evaluate_every} is more than the run has steps, so the held-out "
            f"score is taken at its start and end only. Set it to {max(1, schedule.num_steps // 10)} to see a curve."
        )
    return ""


RULES: tuple[Callable[[RunConfig], str], ...] = (
    _idle_people,
    _unread,
    _idle_drawing,
    _idle_noise_level,
    _noise_for_nothing,
    _drifts,
    _never_gated,
    _small_groups,
    _idle_extremes,
    _wide_clip,
    _idle_clip,
    _idle_beta,
    _idle_reference_guidance,
    _idle_kl_below,
    _unbounded_push,
    _idle_switch,
    _high_rate,
    _few_step_base,
    _never_examined,
)
