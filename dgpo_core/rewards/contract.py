"""What every reward keeps to: pictures and prompts in, one judgement per picture out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dgpo_core.errors import RewardError

Picture = NDArray[np.uint8]


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
    """The reward's judgements, held to the contract. A reward that is not finite becomes no opinion.

    Raises:
        RewardError: not one judgement per picture.
    """
    judgements = reward([picture.copy() for picture in pictures], prompts)
    if len(judgements) != len(pictures):
        raise RewardError(
            f"The reward gave {len(judgements)} judgements for {len(pictures)} pictures. "
            "It must give one per picture, in order."
        )
    return [
        one if one.reward is None or isfinite(one.reward) else Judgement(None, one.terms, "the reward was not finite")
        for one in judgements
    ]
