"""What is unwise about a recipe: settings that together are known to go wrong, or that do nothing."""

from __future__ import annotations

from collections.abc import Callable

from dgpo_core.base_rules import few_step_base, other_familys_settings
from dgpo_core.config import STOCHASTIC_SAMPLERS, RolloutConfig, RunConfig
from dgpo_core.errors import ConfigError
from dgpo_core.idle_settings import IDLE, compares, reads_reference_guidance
from dgpo_core.reward_names import PREFERENCE

SMALLEST_GOOD_GROUP = 8
LEAST_BETA_FOR_MOVING_REFERENCE = 50
LEAST_BETA_FOR_SLOW_REFERENCE = 2000
"""Of a reference that is a moving average of the policy; its authors have 2000 to 5000."""
WIDEST_CLIP_THAT_FIRES = 0.03
LARGEST_STEADY_RATE = 3e-3
ROUNDING = 1e-6
"""Training counts its noise levels in float32."""


def check(config: RunConfig) -> None:
    """Refuses settings that contradict each other, so that no run could make a step.

    Raises:
        ConfigError: more noise levels are to be trained than the sampling grid has above the least one, a single
            picture of each group is to be trained on, Flow-GRPO is asked to learn from a sampler without noise,
            Diffusion-DPO to compare without a beta, a learned preference is not named, or more noise is to be new than
            there is.
    """
    _check_noise_levels(config)
    _check_noise(config.rollout)
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


def _check_noise(rollout: RolloutConfig) -> None:
    if rollout.sampler == "flow_cps" and rollout.noise_level > 1:
        raise ConfigError(
            f"With rollout.sampler flow_cps rollout.noise_level must be 0 to 1, got {rollout.noise_level:g}: at 1 all "
            "noise of a step is new, and there is no more. Lower it, or set rollout.sampler to flow_sde."
        )


def _check_paths(rollout: RolloutConfig) -> None:
    if rollout.stored_groups:
        raise ConfigError(
            "algorithm.name is flow_grpo, which learns from the paths of its own pictures, but rollout.stored_groups "
            "gives pictures without paths. Leave it empty, or choose another algorithm."
        )
    if rollout.sampler not in STOCHASTIC_SAMPLERS:
        raise ConfigError(
            f"algorithm.name is flow_grpo, which learns from the noise of a stochastic sampler, but rollout.sampler is "
            f"{rollout.sampler}. Set rollout.sampler to {' or '.join(STOCHASTIC_SAMPLERS)}."
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
    num_allowed = sum(shift * sigma / (1 + (shift - 1) * sigma) >= loss.sigma_min - ROUNDING for sigma in even)
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
    return tuple(words for words in (rule(config) for rule in (*RULES, other_familys_settings)) if words)


def _noise_for_nothing(config: RunConfig) -> str:
    sampler = config.rollout.sampler
    is_drawn = not config.rollout.stored_groups
    if is_drawn and sampler in STOCHASTIC_SAMPLERS and config.algorithm.name != "flow_grpo":
        return (
            f"rollout.sampler = {sampler} draws worse pictures than an ODE sampler in as many steps, and "
            f"{config.algorithm.name} does not need its noise. Set it to euler, unless you want to compare."
        )
    return ""


def _drifts(config: RunConfig) -> str:
    loss = config.loss
    if config.algorithm.name != "dgpo" or not compares(config):
        return ""
    if loss.reference == "frozen" and loss.reference_guidance == 1 and config.rollout.guidance_scale == 1:
        return (
            "Groups are drawn without guidance and compared with the frozen start without guidance: runs drift so. "
            "Set loss.reference to old_policy, or loss.reference_guidance above 1."
        )
    return ""


def _guides_again(config: RunConfig) -> str:
    loss = config.loss
    if loss.reference_guidance > 1 and loss.reference_every > 0 and reads_reference_guidance(config):
        return (
            f"loss.reference_guidance = {loss.reference_guidance:g} is added anew with each reference that "
            "loss.reference_every takes, to a policy that has learned the last one's, so it adds up. Set "
            "loss.reference_every to 0, or loss.reference_guidance to 1."
        )
    return ""


def _never_gated(config: RunConfig) -> str:
    loss = config.loss
    if not (loss.reference == "old_policy" and compares(config) and loss.preference_beta > 0):
        return ""
    if config.update.old_policy_decay > 0 and loss.preference_beta < LEAST_BETA_FOR_SLOW_REFERENCE:
        return (
            f"loss.preference_beta = {loss.preference_beta:g} is small for a reference that is an average of earlier "
            "policies (update.old_policy_decay): the gate hardly closes and the reward may be gamed. Its authors have "
            "2000 to 5000."
        )
    if loss.preference_beta < LEAST_BETA_FOR_MOVING_REFERENCE:
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


def _wide_clip(config: RunConfig) -> str:
    if config.algorithm.name == "dgpo" and config.loss.clip_range > WIDEST_CLIP_THAT_FIRES:
        return (
            f"loss.clip_range = {config.loss.clip_range:g} is so wide that no sample is ever clipped. Errors move by "
            "thousandths in a step: try 0.002, or 0 to have no clip."
        )
    return ""


def _unbounded_push(config: RunConfig) -> str:
    loss = config.loss
    if config.algorithm.name == "dgpo" and loss.dual_clip == 0 and not compares(config):
        return (
            "loss.dual_clip = 0 leaves nothing to bound how far dispreferred pictures are pushed away, since with "
            "loss.preference_beta = 0 no gate ever closes; pictures fall apart after some hundred steps. Set "
            "loss.dual_clip to 0.1, or loss.preference_beta above 0."
        )
    if config.algorithm.name == "dgpo" and loss.dual_clip == 0 and loss.reference == "old_policy":
        return (
            "loss.dual_clip = 0 leaves nothing to bound how far dispreferred pictures are pushed away while the "
            "reference moves along; pictures fall apart after some hundred steps. Set it to 0.1, or loss.reference to "
            "frozen."
        )
    if config.algorithm.name == "diffusion_dpo" and loss.reference == "old_policy" and loss.kl_weight == 0:
        return (
            "Nothing bounds how far diffusion_dpo pushes the worst pictures away: its reference moves along, and there "
            "is no pull. Set loss.reference to frozen, as its authors have it, or loss.kl_weight above 0."
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
    *IDLE,
    _noise_for_nothing,
    _drifts,
    _guides_again,
    _never_gated,
    _small_groups,
    _wide_clip,
    _unbounded_push,
    _high_rate,
    few_step_base,
    _never_examined,
)
