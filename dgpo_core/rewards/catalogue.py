"""All rewards by the name that a recipe calls them."""

from __future__ import annotations

from collections.abc import Callable

from dgpo_core.errors import RewardError
from dgpo_core.rewards.contract import Reward
from dgpo_core.rewards.image_statistics import ImageStatistic, brightness, colourfulness
from dgpo_core.rewards.shapes_tidiness import ShapesTidiness
from dgpo_core.rewards.shapes_verifier import ShapesVerifier

REWARDS: dict[str, Callable[[], Reward]] = {
    "shapes_partial": lambda: ShapesVerifier(is_strict=False),
    "shapes_strict": lambda: ShapesVerifier(is_strict=True),
    "shapes_tidiness": ShapesTidiness,
    "brightness": lambda: ImageStatistic("brightness", brightness),
    "colourfulness": lambda: ImageStatistic("colourfulness", colourfulness),
}
QUICK_REWARDS = ("shapes_partial", "shapes_strict", "shapes_tidiness", "brightness", "colourfulness")
"""Rewards that need no model, so that every label can be compared with them."""


def new_reward(name: str) -> Reward:
    """The reward of that name.

    Raises:
        RewardError: there is none.
    """
    if name not in REWARDS:
        raise RewardError(f"There is no reward {name!r}. Choose one of {', '.join(REWARDS)}.")
    return REWARDS[name]()
