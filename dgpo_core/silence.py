"""Pictures on which the reward has no opinion: counted, said, and the end of a run in which there are no others."""

from __future__ import annotations

from collections.abc import Sequence

from dgpo_core.errors import RewardError
from dgpo_core.events import Examined
from dgpo_core.rewards.contract import Judgement

MOST_SILENT_STEPS = 3


def unjudged_in_words(examined: Sequence[Examined]) -> str:
    """What to tell about pictures of an examination on which the reward had no opinion; empty where there is none."""
    silent = [one for one in examined if one.score is None]
    if not silent:
        return ""
    reason = _first_reason(silent)
    score = "This examination has no score" if len(silent) == len(examined) else "The score is of the others"
    return (
        f"The reward had no opinion on {len(silent)} of {len(examined)} pictures of the examination. {score}. "
        f"The first: {reason}."
    )


def _first_reason(silent: Sequence[Examined | Judgement]) -> str:
    return next((one.details for one in silent if one.details), "it gave no reason")[:300]


class Silence:
    """Counts pictures without an opinion; speaks at the first and then each time there are ten times as many."""

    def __init__(self) -> None:
        self._num_silent, self._num_said, self._num_steps = 0, 0, 0

    def hear(self, judgements: Sequence[Judgement]) -> str:
        """What to tell about a step's judgements; empty when there is nothing new.

        Raises:
            RewardError: the reward had no opinion on any picture, step after step.
        """
        silent = [one for one in judgements if one.reward is None]
        self._num_silent += len(silent)
        self._num_steps = self._num_steps + 1 if silent and len(silent) == len(judgements) else 0
        reason = _first_reason(silent)
        if self._num_steps >= MOST_SILENT_STEPS:
            raise RewardError(
                f"The reward had no opinion on any picture in {self._num_steps} steps in a row: {reason}. Mend it and "
                "resume the run."
            )
        if not silent or self._num_silent < max(1, 10 * self._num_said):
            return ""
        self._num_said = self._num_silent
        return (
            f"The reward had no opinion on {len(silent)} of {len(judgements)} pictures of this step, "
            f"{self._num_silent} so far; they are left out. The first: {reason}."
        )
