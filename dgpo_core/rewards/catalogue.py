"""All rewards by the name that a recipe calls them; each is made when it is asked for, with what it may need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from dgpo_core.errors import RewardError
from dgpo_core.reward_names import (
    DEQA_SERVER,
    HPSV3_SERVER,
    PREFERENCE,
    REWARD_FACTS,
    REWARD_NAMES,
    is_own,
    parse_mixture,
)
from dgpo_core.rewards.clip_rewards import SCALES, AestheticReward, ClipReward
from dgpo_core.rewards.contract import Reward
from dgpo_core.rewards.geneval_models import geneval_reward
from dgpo_core.rewards.image_reward import ImageReward
from dgpo_core.rewards.image_statistics import STATISTICS, clean_and_noisy, image_statistic
from dgpo_core.rewards.mixture import Mixture, Part
from dgpo_core.rewards.mouths import mouth_of
from dgpo_core.rewards.ocr import OcrReward
from dgpo_core.rewards.own_reward import own_reward
from dgpo_core.rewards.remote import RemoteReward
from dgpo_core.rewards.shapes_tidiness import ShapesTidiness
from dgpo_core.rewards.shapes_verifier import ShapesVerifier
from dgpo_core.rewards.supplies import Supplies
from dgpo_core.rewards.vision_language import VisionLanguageReward
from dgpo_core.rewards.visiting import Visiting

Maker = Callable[[Supplies], Reward]


def _statistic(name: str, supplies: Supplies) -> Reward:
    return image_statistic(name)


def _clip(name: str, supplies: Supplies) -> Reward:
    return ClipReward(name, supplies)


def _vision_language(name: str, supplies: Supplies) -> Reward:
    return VisionLanguageReward(name, mouth_of(name, supplies))


def _learned(supplies: Supplies) -> Reward:
    if supplies.preference is None:
        raise RewardError(
            "The reward preference was learned from labels and judges with the model of a run, so it is not to be had "
            "here. Train, examine or watch with it: set people.preference to a version's folder."
        )
    return supplies.preference


REWARDS: dict[str, Maker] = {
    "shapes_partial": lambda supplies: ShapesVerifier(is_strict=False),
    "shapes_strict": lambda supplies: ShapesVerifier(is_strict=True),
    "shapes_tidiness": lambda supplies: ShapesTidiness(),
    **{name: partial(_statistic, name) for name in STATISTICS},
    "ocr": OcrReward,
    **{name: partial(_clip, name) for name in SCALES},
    "imagereward": ImageReward,
    "hpsv3": partial(RemoteReward, name="hpsv3", trials=clean_and_noisy, start=HPSV3_SERVER),
    "aesthetic": AestheticReward,
    "deqa": partial(RemoteReward, name="deqa", trials=clean_and_noisy, start=DEQA_SERVER),
    **{name: partial(_vision_language, name) for name in ("vlm_quality", "unifiedreward", "vlm_judge")},
    "geneval": partial(geneval_reward, is_strict=False),
    "geneval_strict": partial(geneval_reward, is_strict=True),
    "remote": RemoteReward,
    PREFERENCE: _learned,
}
QUICK_REWARDS = ("shapes_partial", "shapes_strict", "shapes_tidiness", "brightness", "colourfulness")
"""Rewards that need no model, so that every label can be compared with them."""


def new_reward(name: str, supplies: Supplies | None = None) -> Reward:
    """The reward of that name, or a person's own as module:attribute or file.py:attribute.

    Raises:
        RewardError: there is none, or something that it needs is missing; the message says what to install.
    """
    supplies = replace(supplies or Supplies(), networks=[])
    if is_own(name):
        return own_reward(name, supplies)
    if name not in REWARDS:
        raise RewardError(f"There is no reward {name!r}. Choose one of {', '.join(REWARD_NAMES)}.")
    reward = REWARDS[name](supplies)
    return Visiting(reward, supplies) if supplies.offloads and REWARD_FACTS[name].weights else reward


def new_mixture(
    text: str, setting: str, make: Callable[[str], Reward] = new_reward, *, group_size: int | None = None
) -> Reward:
    """The reward that a setting names: one alone as make gives it, several or a weighted one as a mixture.

    group_size is how many pictures one after the other are a group; without it those of one prompt are.

    Raises:
        ConfigError: the text is no mixture.
        RewardError: as new_reward.
    """
    shares = parse_mixture(text, setting)
    if len(shares) == 1 and shares[0].weight == 1:
        return make(shares[0].name)
    parts = [Part(share.name, share.weight, make(share.name)) for share in shares]
    return Mixture(parts, group_size=group_size)
