"""What every reward keeps to: pictures and prompts in, one judgement per picture out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dgpo_core.errors import RewardError
from dgpo_core.rewards.patience import TookTooLongError, within

Picture = NDArray[np.uint8]
LARGEST_REWARD = float(np.finfo(np.float32).max)
SPREAD_FLOOR = 1e-4
"""Rewards of a group that spread less are alike, where they are brought to spread 1: eq. 4 of docs/method.md hardly
tells them apart either, but would if they were blown up before it."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A reward and what it is made of. reward None is no opinion; details is for people."""

    reward: float | None
    terms: tuple[tuple[str, float], ...] = ()
    details: str = ""


class Reward(Protocol):
    """A judge of pictures. It must not change them, and must not draw from a global random generator.

    What is known of a prompt beyond its text is handed in when the reward is made (dgpo_core/rewards/supplies.py);
    its range stands in dgpo_core/reward_names.py.
    """

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Raises PromptError, naming the first prompt that this reward cannot judge."""
        ...

    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[Judgement]:
        """One judgement per picture, uint8 (H, W, 3), in order; higher rewards are better."""
        ...


@dataclass(frozen=True, slots=True)
class Trial:
    """Two pictures of one prompt of which a sound reward finds the first better."""

    better: Picture
    worse: Picture
    prompt: str


@runtime_checkable
class Testable(Protocol):
    """A reward that knows what it must be able to tell apart."""

    def trials(self) -> list[Trial]:
        """Pairs that dgpo_core/rewards/self_test.py has it judge before a run."""
        ...


def judge(
    reward: Reward,
    pictures: Sequence[Picture],
    prompts: Sequence[str],
    *,
    seconds: float = inf,
    look: Callable[[], None] | None = None,
) -> list[Judgement]:
    """The reward's judgements, held to the contract. A reward that is not finite, as float32, becomes no opinion.

    The reward gets copies, in a thread of its own: what it changes changes nothing here, and look() is called while
    it is waited for, so that a stop is heard.

    Raises:
        RewardError: not one judgement per picture, a reward that is no number, an exception inside the reward
            (its cause), or no answer within the seconds.
    """
    name = name_of(reward)
    handed, asked = [picture.copy() for picture in pictures], list(prompts)
    try:
        answer, failure = within(seconds, lambda: reward(handed, asked), look)
    except TookTooLongError:
        raise RewardError(
            f"The reward {name} gave no answer for {len(pictures)} pictures in {seconds:g} s, so nothing was learned "
            "from them. Look why it hangs, or raise reward.seconds."
        ) from None
    if isinstance(failure, RewardError):
        raise failure
    if failure is not None:
        raise RewardError(
            f"The reward {name} failed with {type(failure).__name__}: {str(failure)[:300]}. Mend it and resume the run."
        ) from failure
    return held_to_contract(answer, len(pictures), name)


def name_of(reward: Reward) -> str:
    """What a reward calls itself, else the name of its class."""
    return str(getattr(reward, "name", type(reward).__name__))


def held_to_contract(answer: object, num_pictures: int, name: str = "") -> list[Judgement]:
    """One judgement per picture with a finite reward or none, terms that are not finite left out, details as text.

    Raises:
        RewardError: the answer is something else.
    """
    who = f"The reward {name}" if name else "The reward"
    if not isinstance(answer, Sequence) or isinstance(answer, str):
        raise RewardError(f"{who} gave {str(answer)[:80]!r}. It must give a list with one judgement per picture.")
    if len(answer) != num_pictures:
        raise RewardError(
            f"{who} gave {len(answer)} judgements for {num_pictures} pictures. It must give one per picture, in order."
        )
    return [_checked(one, who) for one in answer]


def _checked(judgement: object, who: str) -> Judgement:
    if not isinstance(judgement, Judgement):
        raise RewardError(f"{who} gave {str(judgement)[:80]!r} for a picture. It must give a Judgement.")
    try:
        terms = tuple((str(name), float(value)) for name, value in judgement.terms if isfinite(value))
    except (TypeError, ValueError) as error:
        given = str(judgement.terms)[:80]
        raise RewardError(f"{who} gave the terms {given!r}. They must be pairs of a name and a number.") from error
    details = str(judgement.details or "").encode("utf-8", "replace").decode()  # half a character cannot be stored
    if judgement.reward is None:
        return Judgement(None, terms, details)
    reward = as_number(judgement.reward, who)
    if not abs(reward) <= LARGEST_REWARD:
        return Judgement(None, terms, "the reward was not finite")
    return Judgement(reward, terms, details)


def as_number(value: object, who: str) -> float:
    """The value as a float, which may be nan or infinite.

    Raises:
        RewardError: it is not one number.
    """
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise RewardError(f"{who} gave {str(value)[:80]!r} for a picture. It must give one number, or None.") from error
