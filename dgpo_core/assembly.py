"""Settings to parts: loads and checks everything a run needs, before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from dgpo_core.base_rules import cautions_once_fetched
from dgpo_core.config import RolloutConfig, RunConfig
from dgpo_core.data.prompts import PromptSet, check_disjoint, load_prompt_set
from dgpo_core.data.requests import parse_request
from dgpo_core.data.stored_groups import StoredGroup, load_groups
from dgpo_core.errors import ConfigError, PromptError
from dgpo_core.examination import Examiner, spread_over
from dgpo_core.human_turn import People, needs_reward
from dgpo_core.models.catalogue import load, places
from dgpo_core.models.diffusers_model import DiffusersModel
from dgpo_core.models.memory import Memory, memory_of
from dgpo_core.models.protocol import Model
from dgpo_core.models.source import configurations_fetched, fetched_before
from dgpo_core.preference.picture_features import PictureFeatures, PipelineFeatures
from dgpo_core.preference.saved import PROBE_PROMPT, load_preference
from dgpo_core.reward_config import OFFLOAD, WARN
from dgpo_core.reward_names import PREFERENCE, parse_watched
from dgpo_core.rewards.catalogue import new_mixture, new_reward
from dgpo_core.rewards.contract import Reward
from dgpo_core.rewards.memory import weights_of_rewards
from dgpo_core.rewards.self_test import check_reward
from dgpo_core.rewards.shapes_quality import ShapesQuality
from dgpo_core.rewards.supplies import supplies_of
from dgpo_core.rollout import UNCONDITIONAL
from dgpo_core.trainer import Parts

PROJECT = Path(__file__).parents[1]
NO_CATEGORY = "all"


def assemble(
    config: RunConfig,
    checkpoints: Path,
    *,
    folder: Path = Path(),
    model: Model | None = None,
    people: People | None = None,
) -> Parts:
    """The parts of a run, prompts checked first because that is quick.

    folder is where relative names of prompt files begin. A model given is used instead of loading one.
    people is who answers where the settings ask people; what is learned from them is put beside by whoever learns it.

    Raises:
        LabError: a prompt set, a reward or the model cannot be used; the message says which and what to do.
    """
    if config.people.weight > 0 and people is None:
        raise ConfigError("people.weight is above 0, but nobody can be asked here. Train in the lab, or set it to 0.")
    train_set, heldout_set, watch_set = _prompt_sets(config, folder)
    heldout_prompts, stored_groups = heldout_set.prompts, _stored_groups(config, folder)
    train_prompts = list(dict.fromkeys(group.prompt for group in stored_groups)) or train_set.prompts
    check_disjoint(train_prompts, heldout_prompts)
    supplies = supplies_of(config, folder, {**train_set.notes, **heldout_set.notes, **watch_set.notes})
    category = partial(noted_category, notes=supplies.notes)
    is_given = model is not None
    if PREFERENCE in config.reward.names:
        model = model or load_model(config)
        supplies = replace(supplies, preference=_saved_preference(config, model, folder))
    reward_named = cache(partial(new_reward, supplies=supplies))
    reward = new_mixture(config.reward.train, "reward.train", reward_named, group_size=config.rollout.group_size)
    evaluation_reward = reward_named(config.reward.evaluation)
    watched = {name: reward_named(name) for name in parse_watched(config.reward.watch, "reward.watch")}
    watch_prompts = spread_over(watch_set.prompts, config.schedule.evaluation_prompts, category)
    teaches = not stored_groups and needs_reward(config.people, num_labelled=0, num_groups=1)
    checks = [(reward, train_prompts)] * teaches + [(evaluation_reward, heldout_prompts)]
    cautions = _checked([*checks, *((one, watch_prompts or heldout_prompts) for one in watched.values())], config)
    model = model or load_model(config)
    model.prepare([*train_prompts, *heldout_prompts, *watch_prompts, *_of_the_lab(config)])
    examiner = Examiner(
        model=model,
        reward=evaluation_reward,
        quality=ShapesQuality(model.features) if _are_shapes(heldout_prompts) else None,
        category_of=category,
        rollout=_as_examined(config),
        batch=2 * config.update.micro_batch,
        watched=watched,
        watch_prompts=watch_prompts,
        seconds=config.reward.seconds,
    )
    return Parts(
        model=model,
        reward=reward,
        examiner=examiner,
        train_prompts=train_prompts,
        heldout_prompts=heldout_prompts,
        checkpoints=checkpoints,
        stored_groups=stored_groups,
        people=people,
        cautions=cautions if is_given else (*cautions, *_of_the_base(config)),
    )


def _as_examined(config: RunConfig) -> RolloutConfig:
    """How examinations draw: as groups are drawn, in steps of their own where the schedule has any."""
    return replace(config.rollout, num_sampling_steps=config.examined_in_steps)


def _of_the_lab(config: RunConfig) -> list[str]:
    """Prompts that no file holds: the empty one, and with people the one that what they teach is saved with."""
    return [PROBE_PROMPT, UNCONDITIONAL] if config.people.weight > 0 else [UNCONDITIONAL]


def _of_the_base(config: RunConfig) -> tuple[str, ...]:
    """What to reconsider about a base that loading fetched; of one that was here the recipe's check has said it."""
    if all(Path(place).exists() for place in (config.model.folder, config.model.parts_from) if place):
        return ()
    return cautions_once_fetched(config, *places(config.model, PROJECT, fetched_before))


def _saved_preference(config: RunConfig, model: Model, folder: Path) -> Reward:
    """The learned preference that the settings name; a relative path begins in folder, else where we are."""
    path = folder / config.people.preference
    features = preference_features(config, model, folder)
    return load_preference(path if path.exists() else Path(config.people.preference), features)


def preference_features(config: RunConfig, model: Model, folder: Path = Path()) -> PictureFeatures:
    """What preferences are learned from: the model's own encoders, or the CLIP model that the settings name.

    Raises:
        RewardError: the folder holds no CLIP model.
    """
    name = config.people.clip_folder
    if not name:
        return PipelineFeatures(model)
    from dgpo_core.preference.clip_features import ClipFeatures

    path = folder / name
    return ClipFeatures(path if path.exists() else Path(name), model.device)


def _prompt_sets(config: RunConfig, folder: Path) -> tuple[PromptSet, PromptSet, PromptSet]:
    """Prompts to train on, of the examination and of the watch, which may have none of its own."""
    prompts = config.prompts
    train, heldout = load_prompt_set(prompts.train, folder), load_prompt_set(prompts.heldout, folder)
    return train, heldout, load_prompt_set(prompts.watch, folder) if prompts.watch else PromptSet([])


def _checked(rewards: list[tuple[Reward, list[str]]], config: RunConfig) -> tuple[str, ...]:
    """Refuses prompts that a reward cannot judge, and a reward that fails its self-test; or says that it did, once."""
    only_warns, words = config.reward.self_test == WARN, []
    for reward, prompts in rewards:
        reward.check_prompts(prompts)
        words.append(check_reward(reward, prompt=prompts[0], seconds=config.reward.seconds, only_warns=only_warns))
    return tuple(dict.fromkeys(filter(None, words)))


def _stored_groups(config: RunConfig, folder: Path) -> list[StoredGroup]:
    """The groups to learn from instead of drawing; a relative path begins in folder, else where we are."""
    name = config.rollout.stored_groups
    if not name:
        return []
    path = folder / name
    return load_groups(path if path.exists() else Path(name))


def load_model(config: RunConfig, device: str = "") -> DiffusersModel:
    """The model of the settings on the best device, or on the one named in the precision that it has on the best.

    A relative folder is looked for here, then in the project.
    """
    best = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if best == "cuda" else torch.float32
    return load(config.model, seed=config.seed, project=PROJECT, device=device or best, dtype=dtype)


def expected_memory(config: RunConfig, folder: Path = Path(), *, may_fetch: bool = True) -> Memory:
    """What the run will take where it would be trained now; nothing but configurations is read, or fetched.

    folder is where relative names begin.

    Raises:
        ModelError: there is no such model, or it would have to be fetched first and may not be.
    """
    _, described = places(config.model, PROJECT, configurations_fetched if may_fetch else fetched_before)
    memory = memory_of(config, described, torch.bfloat16 if torch.cuda.is_available() else torch.float32)
    rewards = weights_of_rewards(config, folder)
    return replace(
        memory,
        rewards=rewards.num_bytes,
        rewards_visit=config.reward.models == OFFLOAD,
        uncounted=rewards.uncounted,
    )


def lacking(expected: Memory) -> str:
    """What to do where the GPU has less memory free than is expected; empty where it has enough, or there is none."""
    free = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else None
    if free is None or expected.peak < free:
        return ""
    return (
        f"{free / 1e9:.1f} GB are free. Lower update.micro_batch, turn model.checkpointing on, or set "
        "model.text_encoders to offload."
    )


def category_of(prompt: str) -> str:
    """The GenEval category of a Shapes prompt; other prompts are all of one kind."""
    try:
        return parse_request(prompt).category
    except PromptError:
        return NO_CATEGORY


def noted_category(prompt: str, notes: Mapping[str, Mapping[str, Any]]) -> str:
    """The tag that stands beside a prompt in its file, as GenEval's do; without one that of category_of()."""
    tag = notes.get(prompt, {}).get("tag")
    return tag if isinstance(tag, str) and tag else category_of(prompt)


def _are_shapes(prompts: list[str]) -> bool:
    return all(category_of(prompt) != NO_CATEGORY for prompt in prompts)
