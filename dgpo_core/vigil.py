"""The watch over what is never trained on: when the score rises while other numbers fall, a reward is being gamed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from statistics import fmean, stdev

import torch

from dgpo_core.events import EvaluationDone, Examined
from dgpo_core.examination import Watched
from dgpo_core.rewards.contract import Judgement, Picture
from dgpo_core.rewards.label_scores import agreement

STANDARD_ERRORS = 2.0
"""A mean of paired differences counts as moved when it is so many of its standard errors from zero."""
DIVERSITY_FALL = 0.2
"""Share of the in-group diversity that may be lost."""
AGREEMENT_FALL = 0.2
"""How far Kendall's tau between people and the reward may fall."""
NUM_GUILTY = 6
DIVERSITY, AGREEMENT = "in-group diversity", "people's agreement"


@dataclass(frozen=True, slots=True)
class Alarm:
    """Which number fell while the score rose, in words, and the pictures that fell most."""

    message: str
    guilty: tuple[Examined, ...]


@dataclass(frozen=True, slots=True)
class _Sight:
    evaluation: EvaluationDone
    watched: Watched
    numbers: dict[str, float]


class Vigil:
    """Compares each examination with the first one it was shown. Says each fall once, and again after a recovery."""

    def __init__(self) -> None:
        self._first: _Sight | None = None
        self._first_numbers: dict[str, float] = {}
        self._said: set[str] = set()
        self._diversities: list[float] = []
        self._agreements: list[float] = []

    @property
    def has_baseline(self) -> bool:
        return self._first is not None

    def see_groups(self, pictures: Sequence[Picture], judgements: Sequence[Judgement], num_groups: int) -> None:
        """Takes note of a step's groups: how different their pictures are, and how far people and the reward agree."""
        size = len(pictures) // num_groups
        for start in range(0, len(pictures), size):
            self._diversities.append(diversity_within(pictures[start : start + size]))
            terms = [dict(one.terms) for one in judgements[start : start + size]]
            tau = agreement([one.get("people") for one in terms], [one.get("reward") for one in terms])
            if tau is not None:
                self._agreements.append(tau)

    def numbers(self) -> dict[str, float]:
        """Means over the groups since the last call; what was not seen is left out."""
        found = {DIVERSITY: self._diversities, AGREEMENT: self._agreements}
        means = {name: fmean(values) for name, values in found.items() if values}
        self._diversities, self._agreements = [], []
        return means

    def see_examination(self, done: EvaluationDone, watched: Watched, numbers: dict[str, float]) -> list[Alarm]:
        """What fell against the first examination while the score rose; nothing for the first itself."""
        sight = _Sight(done, watched, numbers)
        for name, value in numbers.items():
            self._first_numbers.setdefault(name, value)
        if self._first is None:
            self._first = sight
            return []
        fallen = {**self._fallen_rewards(sight), **self._fallen_numbers(sight)}
        has_risen = (
            moved([one.score for one in self._first.evaluation.samples], [one.score for one in done.samples]) > 0
        )
        news = [name for name in fallen if name not in self._said] if has_risen else []
        self._said = (self._said & set(fallen)) | set(news)
        return [self._alarm(name, *fallen[name], sight) for name in news]

    def _fallen_rewards(self, sight: _Sight) -> dict[str, tuple[float, float]]:
        assert self._first is not None
        found = {}
        for name, pictures in sight.watched.items():
            before, after = ([one.score for one in side] for side in (self._first.watched.get(name, ()), pictures))
            if moved(before, after) < 0:
                both = _both(before, after)
                found[name] = (fmean(one for one, _ in both), fmean(other for _, other in both))
        return found

    def _fallen_numbers(self, sight: _Sight) -> dict[str, tuple[float, float]]:
        first, now = self._first_numbers, sight.numbers
        found = {}
        if DIVERSITY in now and now[DIVERSITY] < (1 - DIVERSITY_FALL) * first[DIVERSITY]:
            found[DIVERSITY] = (first[DIVERSITY], now[DIVERSITY])
        if AGREEMENT in now and now[AGREEMENT] < first[AGREEMENT] - AGREEMENT_FALL:
            found[AGREEMENT] = (first[AGREEMENT], now[AGREEMENT])
        return found

    def _alarm(self, name: str, before: float, after: float, sight: _Sight) -> Alarm:
        assert self._first is not None
        first, now = self._first.evaluation, sight.evaluation
        message = (
            f"The reward may be gamed: the held-out score rose from {first.score:.3g} to {now.score:.3g} since step "
            f"{first.step}, while {name} fell from {before:.3g} to {after:.3g}. Look at the pictures; raise "
            "loss.kl_weight, or stop and go back to an earlier checkpoint."
        )
        return Alarm(message, self._guilty(name, sight))

    def _guilty(self, name: str, sight: _Sight) -> tuple[Examined, ...]:
        """The watched pictures that lost most, worst first; for a number of groups, the examined ones that gained."""
        assert self._first is not None
        if name not in sight.watched:
            gains = zip(self._first.evaluation.samples, sight.evaluation.samples, strict=True)
            return _most(gains, sign=1)
        return _most(zip(self._first.watched[name], sight.watched[name], strict=True), sign=-1)


def moved(before: Sequence[float | None], after: Sequence[float | None]) -> int:
    """1 where paired values rose by more than STANDARD_ERRORS of their mean difference, -1 where they fell, else 0."""
    differences = [other - one for one, other in _both(before, after)]
    if len(differences) < 2:
        return 0
    mean, error = fmean(differences), stdev(differences) / sqrt(len(differences))
    return 0 if abs(mean) <= STANDARD_ERRORS * error else (1 if mean > 0 else -1)


def diversity_within(pictures: Sequence[Picture]) -> float:
    """Root mean square distance of a group's pixels to their mean picture, 0 where all are alike, at most 0.5."""
    stack = torch.stack([torch.tensor(picture) for picture in pictures]).float() / 255
    return float(stack.var(dim=0, correction=0).mean().sqrt())


def _both(before: Sequence[float | None], after: Sequence[float | None]) -> list[tuple[float, float]]:
    pairs = zip(before, after, strict=False)
    return [(one, other) for one, other in pairs if one is not None and other is not None]


def _most(pairs: Iterable[tuple[Examined, Examined]], sign: int) -> tuple[Examined, ...]:
    known = [(one, other) for one, other in pairs if one.score is not None and other.score is not None]
    change = [(sign * ((other.score or 0) - (one.score or 0)), index) for index, (one, other) in enumerate(known)]
    worst = [index for value, index in sorted(change, key=lambda one: -one[0])[:NUM_GUILTY] if value > 0]
    return tuple(
        replace(known[index][1], details=f"{known[index][0].score:.3g} before, {known[index][1].score:.3g} now")
        for index in worst
    )
