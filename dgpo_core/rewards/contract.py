"""What every reward keeps to: pictures and prompts in, one judgement per picture out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dgpo_core.errors import RewardError

Picture = NDArray[np.uint8]
LARGEST_REWARD = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A reward and what it is made of. reward None is no opinion; details is for people."""

    reward: float | None
    terms: tuple[tuple[str, float], ...] = ()
    details: str = ""


class Reward(Protocol):
    """A judge of pictures. It must not change them, and must not draw from a global random generator."""

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Raises PromptError, naming the first prompt that this reward cannot judge."""
        ...

    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[Judgement]:
        """One judgement per picture, uint8 (H, W, 3), in order; higher rewards are better."""
        ...


def judge(reward: Reward, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[Judgement]:
    """The reward's judgements, held to the contract. A reward that is not finite, as float32, becomes no opinion.

    Raises:
        RewardError: not one judgement per picture, or a reward that is no number.
    """
    judgements = reward([picture.copy() for picture in pictures], list(prompts))
    if len(judgements) != len(pictures):
        raise RewardError(
            f"The reward gave {len(judgements)} judgements for {len(pictures)} pictures. "
            "It must give one per picture, in order."
        )
    return [_held_to_contract(one) for one in judgements]


def _held_to_contract(judgement: Judgement) -> Judgement:
    if judgement.reward is None:
        return judgement
    try:
        reward = float(judgement.reward)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RewardError(
            f"The reward gave {str(judgement.reward)[:80]!r} for a picture. It must give one number, or None."
        ) from error
    if not abs(reward) <= LARGEST_REWARD:
        return Judgement(None, judgement.terms, "the reward was not finite")
    return Judgement(reward, judgement.terms, judgement.details)
