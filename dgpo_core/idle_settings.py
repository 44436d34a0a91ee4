"""Settings of a recipe that do nothing, each told with what would make it do something."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dgpo_core.config import STOCHASTIC_SAMPLERS, RolloutConfig, RunConfig, settings
from dgpo_core.reward_names import PREFERENCE, REWARD_FACTS

READ_BY = {
    "algorithm.nft_strength": ("diffusion_nft",),
    "algorithm.nft_advantage_clip": ("diffusion_nft",),
    "algorithm.temperature": ("reward_weighted",),
    "loss.preference_beta": ("dgpo", "diffusion_dpo"),
    "loss.clip_range": ("dgpo", "flow_grpo"),
    "loss.clip_kl": ("dgpo",),
    "loss.dual_clip": ("dgpo",),
    "loss.reference": ("dgpo", "diffusion_dpo"),
    "loss.reference_guidance": ("dgpo", "diffusion_nft", "diffusion_dpo", "reward_weighted"),
    "loss.shared_noise": ("dgpo", "diffusion_nft", "diffusion_dpo", "reward_weighted"),
    "loss.text_dropout": ("dgpo", "diffusion_nft", "diffusion_dpo", "reward_weighted"),
    "loss.kl_below": ("dgpo", "diffusion_nft", "diffusion_dpo", "reward_weighted"),
    "loss.kl_on_alike": ("dgpo", "diffusion_nft", "diffusion_dpo", "reward_weighted"),
    "loss.sigma_source": ("dgpo", "diffusion_nft", "diffusion_dpo", "reward_weighted"),
    **dict.fromkeys(
        ("loss.advantage_std", "loss.advantage_clip", "loss.uniform_weights", "loss.extremes"),
        ("dgpo", "flow_grpo", "diffusion_nft", "reward_weighted"),
    ),
}
"""Settings that not every algorithm reads, and which do."""

READ_WHERE_PEOPLE_ARE = ("people.wait_seconds", "people.without_label", "people.groups_asked", "people.repeat_share")
READ_WHERE_DRAWN = (
    "prompts.train",
    "reward.train",
    "rollout.group_size",
    "rollout.noise_level",
    "rollout.old_policy_from_step",
    "people.weight",
    *READ_WHERE_PEOPLE_ARE,
)

READ_BY_LORA = ("model.lora_rank", "model.lora_alpha", "model.lora_targets")
ASK_A_MODEL = ("vlm_judge", "vlm_quality", "unifiedreward")
"""Rewards that ask a vision-language model, at reward.server or in this process."""
READ_BY_REWARD = {
    "reward.server": (*(name for name, facts in REWARD_FACTS.items() if facts.needs_server), *ASK_A_MODEL),
    "reward.server_model": ASK_A_MODEL,
}
"""Settings that only some rewards read, and which do."""


def _unread(config: RunConfig) -> str:
    """Settings that were changed and that the algorithm does not read."""
    name = config.algorithm.name
    words = _do_nothing(config, [path for path, readers in READ_BY.items() if name not in readers])
    return words and f"{words}: algorithm.name is {name}. Leave them as they are, or change the algorithm."


def _idle_drawing(config: RunConfig) -> str:
    """Settings of drawing that were changed although nothing is drawn to learn from."""
    words = _do_nothing(config, READ_WHERE_DRAWN) if config.rollout.stored_groups else ""
    return words and f"{words}: the groups of rollout.stored_groups are learned from, and none is drawn."


def _idle_people(config: RunConfig) -> str:
    """Settings of people that were changed although nobody is asked."""
    is_learned_used = PREFERENCE in config.reward.names
    paths = (*READ_WHERE_PEOPLE_ARE, *(() if is_learned_used else ("people.clip_folder",)))
    is_idle = config.people.weight == 0 and not config.rollout.stored_groups
    words = _do_nothing(config, paths) if is_idle else ""
    return words and f"{words}: people.weight is 0, so nobody is asked. Raise it to ask people."


def _idle_reward(config: RunConfig) -> str:
    """The automatic reward that was chosen although what people say is all that counts."""
    people = config.people
    is_idle = people.weight == 1 and people.without_label != "reward" and not config.rollout.stored_groups
    words = _do_nothing(config, ["reward.train"]) if is_idle else ""
    return words and (
        f"{words}: people.weight is 1 and people.without_label is {people.without_label}, so no automatic reward "
        "counts. Leave it out, or lower people.weight."
    )


def _idle_preference(config: RunConfig) -> str:
    if config.people.preference and PREFERENCE not in config.reward.names:
        return (
            "people.preference does nothing: no reward uses it. Name preference in reward.train, or among those of "
            "reward.watch."
        )
    return ""


def _idle_watch_prompts(config: RunConfig) -> str:
    if config.prompts.watch and not config.reward.watch:
        return "prompts.watch does nothing: no reward is watched. Name some in reward.watch, or leave it empty."
    return ""


def _idle_lora(config: RunConfig) -> str:
    """Settings of a LoRA that were changed although none is trained."""
    words = _do_nothing(config, READ_BY_LORA) if config.model.trained == "all_weights" else ""
    return words and f"{words}: all weights are trained, and no LoRA. Leave it out, or set model.trained to lora."


def _idle_server(config: RunConfig) -> str:
    """Settings of a server that were changed although no reward of the run asks one."""
    unread = [path for path, readers in READ_BY_REWARD.items() if config.reward.names.isdisjoint(readers)]
    words = _do_nothing(config, unread)
    readers = ", ".join(READ_BY_REWARD[unread[0]]) if words else ""
    return words and f"{words}: none of the run's rewards reads it. Leave it empty, or name one of {readers}."


def _idle_reference(config: RunConfig) -> str:
    words = _do_nothing(config, ["loss.reference"])
    if words and config.algorithm.name == "dgpo" and config.loss.preference_beta == 0:
        return (
            f"{words}: at loss.preference_beta 0 every gate is one half, whatever it is measured against. Raise that, "
            "or leave it out."
        )
    return ""


def _idle_choice_of_groups(config: RunConfig) -> str:
    asked, drawn = config.people.groups_asked, config.rollout.groups_per_step
    if config.people.weight > 0 and asked >= drawn and not config.rollout.stored_groups:
        return (
            f"people.groups_asked = {asked} does nothing: a step has only {drawn} groups, and people are asked about "
            "all. Set it below rollout.groups_per_step, or to 0."
        )
    return ""


def _idle_beside_uniform_weights(config: RunConfig) -> str:
    """What would scale or clip advantages where only their sign counts."""
    words = _do_nothing(config, ["loss.advantage_std", "loss.advantage_clip"]) if config.loss.uniform_weights else ""
    is_read = config.algorithm.name in READ_BY["loss.uniform_weights"]
    return (
        f"{words}: with loss.uniform_weights only who is above the mean counts. Leave it out, or turn that off."
        if words and is_read
        else ""
    )


def _do_nothing(config: RunConfig, paths: Iterable[str]) -> str:
    """The beginning of a caution about those of the settings that were changed; empty where none was."""
    defaults = {setting.path: setting.default for setting in settings()}
    changed = [path for path in paths if _value_at(config, path) != defaults[path]]
    return f"{', '.join(changed)} {'do' if len(changed) > 1 else 'does'} nothing" if changed else ""


def _value_at(config: RunConfig, path: str) -> object:
    section, _, name = path.partition(".")
    return getattr(getattr(config, section), name)


def _idle_noise_level(config: RunConfig) -> str:
    rollout = config.rollout
    is_drawn = not rollout.stored_groups
    if is_drawn and rollout.sampler not in STOCHASTIC_SAMPLERS and rollout.noise_level != RolloutConfig().noise_level:
        return (
            f"rollout.noise_level does nothing: the sampler {rollout.sampler} adds no noise. "
            f"Set rollout.sampler to {' or '.join(STOCHASTIC_SAMPLERS)} to use it."
        )
    return ""


def compares(config: RunConfig) -> bool:
    """Whether the algorithm compares errors with those of loss.reference; at beta 0 nothing comes of it."""
    return config.algorithm.name in READ_BY["loss.reference"] and config.loss.preference_beta > 0


def _idle_extremes(config: RunConfig) -> str:
    size = config.rollout.group_size
    if config.loss.extremes >= size and not config.rollout.stored_groups:
        return (
            f"loss.extremes = {config.loss.extremes} does nothing: a group has only {size} pictures, and all are "
            "trained on. Set it below rollout.group_size, or to 0."
        )
    return ""


def _is_one_update(config: RunConfig) -> bool:
    """Whether a step makes a single update of its groups."""
    update = config.update
    return update.inner_epochs == 1 and (not update.per_sigma or config.loss.num_sigmas == 1)


def _is_old_the_policy_itself(config: RunConfig) -> bool:
    """Whether every update is measured against exactly the weights that it starts from."""
    return config.update.old_policy_decay == 0 and _is_one_update(config)


def _does_old_policy_draw(config: RunConfig) -> bool:
    """Whether an old policy that is not the policy draws groups in any step of the run."""
    rollout = config.rollout
    is_reached = rollout.old_policy_from_step < config.schedule.num_steps
    return config.update.old_policy_decay > 0 and is_reached and not rollout.stored_groups


def _way_to_move(config: RunConfig) -> str:
    """How the policy would move within a step."""
    more = "raise loss.num_sigmas" if config.update.per_sigma else "turn update.per_sigma on"
    if not config.update.per_sigma and config.loss.num_sigmas == 1:
        more = "raise loss.num_sigmas and turn update.per_sigma on"
    return f"Raise update.old_policy_decay or update.inner_epochs, or {more}."


def _idle_per_sigma(config: RunConfig) -> str:
    words = _do_nothing(config, ["update.per_sigma"]) if config.loss.num_sigmas == 1 else ""
    return words and f"{words}: there is one noise level, and one update either way. Raise loss.num_sigmas above 1."


def _idle_clip(config: RunConfig) -> str:
    loss, name = config.loss, config.algorithm.name
    if loss.clip_range == 0:
        return ""
    if name == "dgpo" and _is_old_the_policy_itself(config):
        return (
            "loss.clip_range does nothing: with one update per step the policy has not moved from the old policy yet. "
            + _way_to_move(config)
        )
    if name == "flow_grpo" and _is_one_update(config) and not _does_old_policy_draw(config):
        return (
            "loss.clip_range does nothing: with one update per step the policy has not moved from the one that drew "
            "the paths. " + _way_to_move(config)
        )
    return ""


def _idle_clip_of_the_kl(config: RunConfig) -> str:
    loss = config.loss
    if not loss.clip_kl or config.algorithm.name not in READ_BY["loss.clip_kl"]:
        return ""
    if 0 in (loss.clip_range, loss.kl_weight):
        return (
            "loss.clip_kl does nothing: it takes the pull of loss.kl_weight from pictures that loss.clip_range clips, "
            "and one of the two is 0. Raise it, or turn loss.clip_kl off."
        )
    if _idle_clip(config):
        return (
            "loss.clip_kl does nothing: loss.clip_range clips no picture. Turn it off, or have the clip do something."
        )
    return ""


def _idle_old_policy(config: RunConfig) -> str:
    loss, name = config.loss, config.algorithm.name
    is_compared = loss.reference == "old_policy" and compares(config)
    is_read = is_compared or name == "diffusion_nft" or (name == "dgpo" and loss.clip_range > 0)
    if config.update.old_policy_decay > 0 and not is_read and not _does_old_policy_draw(config):
        way_out = "." if config.rollout.stored_groups else ", or rollout.old_policy_from_step below schedule.num_steps."
        return (
            "update.old_policy_decay does nothing: the old policy neither draws groups nor is anything measured "
            f"against it. Set it to 0{way_out}"
        )
    return ""


def _idle_beta(config: RunConfig) -> str:
    loss = config.loss
    if compares(config) and loss.reference == "old_policy" and _is_old_the_policy_itself(config):
        return "loss.preference_beta does nothing: with one update per step every gate is one half. " + _way_to_move(
            config
        )
    return ""


def _is_frozen_measured(config: RunConfig) -> bool:
    """Whether the preference or a clip measures from the frozen reference, whatever pulls towards it."""
    loss = config.loss
    is_compared = loss.reference == "frozen" and compares(config)
    return is_compared or (loss.dual_clip > 0 and config.algorithm.name in READ_BY["loss.dual_clip"])


def reads_reference_guidance(config: RunConfig) -> bool:
    """Whether anything asks the frozen reference with its guidance."""
    is_reader = config.algorithm.name in READ_BY["loss.reference_guidance"]
    return is_reader and (_is_frozen_measured(config) or config.loss.kl_weight > 0)


def _idle_reference_guidance(config: RunConfig) -> str:
    is_reader = config.algorithm.name in READ_BY["loss.reference_guidance"]
    if config.loss.reference_guidance != 1 and is_reader and not reads_reference_guidance(config):
        return (
            "loss.reference_guidance does nothing: the frozen start is not used. Set loss.reference to frozen, or "
            "loss.kl_weight above 0."
        )
    return ""


def _idle_renewal(config: RunConfig) -> str:
    """Nothing is held to the frozen reference, or it is first taken anew after the run's end."""
    loss, every = config.loss, config.loss.reference_every
    is_held_below = loss.kl_below > 0 and config.algorithm.name in READ_BY["loss.kl_below"]
    if every > 0 and not _is_frozen_measured(config) and loss.kl_weight == 0 and not is_held_below:
        return (
            "loss.reference_every does nothing: the frozen reference is not used. Set loss.kl_weight above 0, or leave "
            "it at 0."
        )
    if every >= config.schedule.num_steps:
        return (
            f"loss.reference_every = {every} does nothing: the run has {config.schedule.num_steps} steps. Set it below "
            "schedule.num_steps, or to 0."
        )
    return ""


def _idle_kl_below(config: RunConfig) -> str:
    if config.loss.kl_below > 0 and config.loss.sigma_min == 0:
        return "loss.kl_below does nothing: loss.sigma_min is 0, and nothing lies below it. Raise loss.sigma_min."
    return ""


def _idle_kl_on_alike(config: RunConfig) -> str:
    if config.loss.kl_on_alike and config.loss.kl_weight == 0:
        return "loss.kl_on_alike does nothing: loss.kl_weight is 0, and nothing is held. Raise it, or leave this off."
    return ""


def _idle_switch(config: RunConfig) -> str:
    if config.rollout.old_policy_from_step > 0 and config.update.old_policy_decay == 0:
        return (
            "rollout.old_policy_from_step does nothing: the old policy is the policy itself. "
            "Set update.old_policy_decay above 0; the paper has 0.3."
        )
    return ""


def _switch_never_reached(config: RunConfig) -> str:
    switch, num_steps = config.rollout.old_policy_from_step, config.schedule.num_steps
    if switch >= num_steps and config.update.old_policy_decay > 0 and not config.rollout.stored_groups:
        return (
            f"rollout.old_policy_from_step = {switch} is never reached: the run has {num_steps} steps, so the old "
            "policy draws no groups. Set it below schedule.num_steps."
        )
    return ""


IDLE: tuple[Callable[[RunConfig], str], ...] = (
    _idle_people,
    _idle_reward,
    _idle_preference,
    _idle_watch_prompts,
    _idle_lora,
    _idle_server,
    _idle_reference,
    _idle_choice_of_groups,
    _unread,
    _idle_drawing,
    _idle_noise_level,
    _idle_extremes,
    _idle_beside_uniform_weights,
    _idle_per_sigma,
    _idle_clip,
    _idle_clip_of_the_kl,
    _idle_beta,
    _idle_reference_guidance,
    _idle_renewal,
    _idle_kl_below,
    _idle_kl_on_alike,
    _idle_old_policy,
    _idle_switch,
    _switch_never_reached,
)
"""Each gives a sentence, or nothing where its settings do something."""
