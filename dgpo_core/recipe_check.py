"""What is unwise about a recipe: settings that together are known to go wrong, or that do nothing."""

from __future__ import annotations

from collections.abc import Callable

from dgpo_core.config import RunConfig
from dgpo_core.errors import ConfigError

SMALLEST_GOOD_GROUP = 8
LEAST_BETA_FOR_MOVING_REFERENCE = 50
WIDEST_CLIP_THAT_FIRES = 0.1
LARGEST_STEADY_RATE = 3e-3
LET_THE_POLICY_MOVE = "Raise update.old_policy_decay or update.inner_epochs, or turn update.per_sigma on."


def check(config: RunConfig) -> None:
    """Refuses settings that contradict each other, so that no run could make a step.

    Raises:
        ConfigError: more noise levels are to be trained than the sampling grid has above the least one.
    """
    loss, num_sampled = config.loss, config.rollout.num_sampling_steps
    even = [index / num_sampled for index in range(1, num_sampled + 1)]
    shift = config.rollout.sigma_shift
    num_allowed = sum(shift * sigma / (1 + (shift - 1) * sigma) >= loss.sigma_min for sigma in even)
    if loss.sigma_source == "grid" and num_allowed < loss.num_sigmas:
        raise ConfigError(
            f"loss.num_sigmas is {loss.num_sigmas}, but only {num_allowed} of the {num_sampled} sampling sigmas are at "
            f"least loss.sigma_min = {loss.sigma_min:g}. Lower one of the two, or set loss.sigma_source to continuous."
        )


def cautions(config: RunConfig) -> tuple[str, ...]:
    """What to reconsider, in words; nothing for a sound recipe. The run may be started all the same."""
    return tuple(words for words in (rule(config) for rule in RULES) if words)


def _drifts(config: RunConfig) -> str:
    loss = config.loss
    if loss.reference == "frozen" and loss.reference_guidance == 1 and config.rollout.guidance_scale == 1:
        return (
            "Groups are drawn without guidance and compared with the frozen start without guidance: runs drift so. "
            "Set loss.reference to old_policy, or loss.reference_guidance above 1."
        )
    return ""


def _never_gated(config: RunConfig) -> str:
    loss = config.loss
    if loss.reference == "old_policy" and 0 < loss.preference_beta < LEAST_BETA_FOR_MOVING_REFERENCE:
        return (
            f"loss.preference_beta = {loss.preference_beta:g} is small for a reference that follows the policy: the "
            "gate never closes and the reward may be gamed. Try 100 to 1000."
        )
    return ""


def _small_groups(config: RunConfig) -> str:
    size = config.rollout.group_size
    if size < SMALLEST_GOOD_GROUP:
        return (
            f"Groups of {size} seldom hold both good and bad pictures. Set rollout.group_size to "
            f"{SMALLEST_GOOD_GROUP} or more; the paper has 24."
        )
    return ""


def _wide_clip(config: RunConfig) -> str:
    if config.loss.clip_range > WIDEST_CLIP_THAT_FIRES:
        return (
            f"loss.clip_range = {config.loss.clip_range:g} is so wide that no sample is ever clipped. Errors move by "
            "thousandths in a step: try 0.002, or 0 to have no clip."
        )
    return ""


def _is_old_the_policy_itself(config: RunConfig) -> bool:
    """Whether every update is measured against exactly the weights that it starts from."""
    update = config.update
    is_one_update = not update.per_sigma or config.loss.num_sigmas == 1
    return update.old_policy_decay == 0 and update.inner_epochs == 1 and is_one_update


def _idle_clip(config: RunConfig) -> str:
    if config.loss.clip_range > 0 and _is_old_the_policy_itself(config):
        return (
            "loss.clip_range does nothing: with one update per step the policy has not moved from the old policy yet. "
            + LET_THE_POLICY_MOVE
        )
    return ""


def _idle_beta(config: RunConfig) -> str:
    if config.loss.reference == "old_policy" and _is_old_the_policy_itself(config):
        return (
            "loss.preference_beta does nothing: with one update per step every gate is one half. " + LET_THE_POLICY_MOVE
        )
    return ""


def _idle_reference_guidance(config: RunConfig) -> str:
    loss = config.loss
    if loss.reference_guidance != 1 and loss.reference == "old_policy" and loss.kl_weight == 0:
        return (
            "loss.reference_guidance does nothing: the frozen start is not used. Set loss.reference to frozen, or "
            "loss.kl_weight above 0."
        )
    return ""


def _idle_switch(config: RunConfig) -> str:
    if config.rollout.old_policy_from_step > 0 and config.update.old_policy_decay == 0:
        return (
            "rollout.old_policy_from_step does nothing: the old policy is the policy itself. "
            "Set update.old_policy_decay above 0; the paper has 0.3."
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
    _drifts,
    _never_gated,
    _small_groups,
    _wide_clip,
    _idle_clip,
    _idle_beta,
    _idle_reference_guidance,
    _idle_switch,
    _high_rate,
    _never_examined,
)
