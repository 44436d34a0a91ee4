"""Settings to parts: loads and checks everything a run needs, before anything is drawn."""

from __future__ import annotations

from pathlib import Path

import torch

from dgpo_core.config import PREFERENCE, RunConfig
from dgpo_core.data.prompts import check_disjoint, load_prompts
from dgpo_core.data.requests import parse_request
from dgpo_core.data.stored_groups import StoredGroup, load_groups
from dgpo_core.errors import ConfigError, PromptError
from dgpo_core.examination import Examiner
from dgpo_core.human_turn import People, needs_reward
from dgpo_core.models.protocol import Model
from dgpo_core.models.sd3 import SD3Model
from dgpo_core.preference.picture_features import PictureFeatures, PipelineFeatures
from dgpo_core.preference.saved import load_preference
from dgpo_core.rewards.catalogue import new_reward
from dgpo_core.rewards.contract import Reward
from dgpo_core.rewards.shapes_quality import ShapesQuality
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
    train_prompts, heldout_prompts = (
        load_prompts(name, folder) for name in (config.prompts.train, config.prompts.heldout)
    )
    stored_groups = _stored_groups(config, folder)
    train_prompts = list(dict.fromkeys(group.prompt for group in stored_groups)) or train_prompts
    check_disjoint(train_prompts, heldout_prompts)
    rewards = {name: new_reward(name) for name in (config.reward.train, config.reward.evaluation) if name != PREFERENCE}
    is_judged = not stored_groups and needs_reward(config.people, num_labelled=0, num_groups=1)
    if is_judged and config.reward.train in rewards:
        rewards[config.reward.train].check_prompts(train_prompts)
    if config.reward.evaluation in rewards:
        rewards[config.reward.evaluation].check_prompts(heldout_prompts)
    model = model or load_model(config)
    if PREFERENCE in (config.reward.train, config.reward.evaluation):
        rewards[PREFERENCE] = _saved_preference(config, model, folder)
    examiner = Examiner(
        model=model,
        reward=rewards[config.reward.evaluation],
        quality=ShapesQuality(model.features) if _are_shapes(heldout_prompts) else None,
        category_of=category_of,
        rollout=config.rollout,
        batch=2 * config.update.micro_batch,
    )
    return Parts(
        model=model,
        reward=rewards[config.reward.train],
        examiner=examiner,
        train_prompts=train_prompts,
        heldout_prompts=heldout_prompts,
        checkpoints=checkpoints,
        stored_groups=stored_groups,
        people=people,
    )


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


def _stored_groups(config: RunConfig, folder: Path) -> list[StoredGroup]:
    """The groups to learn from instead of drawing; a relative path begins in folder, else where we are."""
    name = config.rollout.stored_groups
    if not name:
        return []
    path = folder / name
    return load_groups(path if path.exists() else Path(name))


def load_model(config: RunConfig) -> Model:
    """The model of the settings on the best device; a relative folder is looked for here, then in the project."""
    folder = Path(config.model.folder)
    if not folder.is_absolute() and not folder.exists():
        folder = PROJECT / folder
    return SD3Model.load(
        folder,
        lora_rank=config.model.lora_rank,
        lora_alpha=config.model.lora_alpha,
        seed=config.seed,
        device="cuda" if torch.cuda.is_available() else "cpu",
    )


def category_of(prompt: str) -> str:
    """The GenEval category of a Shapes prompt; other prompts are all of one kind."""
    try:
        return parse_request(prompt).category
    except PromptError:
        return NO_CATEGORY


def _are_shapes(prompts: list[str]) -> bool:
    return all(category_of(prompt) != NO_CATEGORY for prompt in prompts)
