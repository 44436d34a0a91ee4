"""The watch over what is never trained on: when the score rises while other numbers fall, a reward is being gamed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import sqrt
from statistics import fmean, stdev
from typing import Any

import torch

from dgpo_core.events import EvaluationDone, Examined
from dgpo_core.examination import Watched
from dgpo_core.rewards.contract import Judgement, Picture
from dgpo_core.rewards.label_scores import Scores, agreement

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Baseline:
    """The first examination, as far as later ones are compared with it: scores by picture, and by watched reward."""

    step: int
    score: float
    scores: Scores
    watched: dict[str, Scores]

    @classmethod
    def of(cls, sight: _Sight) -> _Baseline:
        done = sight.evaluation
        watched = {name: _scores(pictures) for name, pictures in sight.watched.items()}
        return cls(step=done.step, score=done.score, scores=_scores(done.samples), watched=watched)


class Vigil:
    """Compares each examination with the first one it was shown. Says each fall once, and again after a recovery."""

    def __init__(self) -> None:
        self._first: _Baseline | None = None
        self._first_numbers: dict[str, float] = {}
        self._said: set[str] = set()
        self._diversities: list[float] = []
        self._agreements: list[float] = []

    @property
    def has_baseline(self) -> bool:
        return self._first is not None

    def as_values(self) -> dict[str, Any]:
        """What a resumed run needs to go on watching, as JSON values."""
        first = asdict(self._first) if self._first else None
        return {"first": first, "first_numbers": self._first_numbers, "said": sorted(self._said)}

    def take_up(self, values: Mapping[str, Any]) -> None:
        """Goes on from as_values(); from nothing, it begins with the next examination."""
        if not values:
            return
        first = values["first"]
        self._first = _Baseline(**first) if first else None
        self._first_numbers, self._said = dict(values["first_numbers"]), set(values["said"])

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
            self._first = _Baseline.of(sight)
            return []
        fallen = {**self._fallen_rewards(sight), **self._fallen_numbers(sight)}
        has_risen = moved(self._first.scores, _scores(done.samples)) > 0
        news = [name for name in fallen if name not in self._said] if has_risen else []
        self._said = (self._said & set(fallen)) | set(news)
        return [self._alarm(name, *fallen[name], sight) for name in news]

    def _fallen_rewards(self, sight: _Sight) -> dict[str, tuple[float, float]]:
        assert self._first is not None
        found = {}
        for name, pictures in sight.watched.items():
            before, after = self._first.watched.get(name, []), _scores(pictures)
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
        first, now = self._first, sight.evaluation
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
            return _most(zip(self._first.scores, sight.evaluation.samples, strict=True), sign=1)
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


def _scores(pictures: Sequence[Examined]) -> Scores:
    return [one.score for one in pictures]


def _most(pairs: Iterable[tuple[float | None, Examined]], sign: int) -> tuple[Examined, ...]:
    known = [(before, now, now.score) for before, now in pairs if before is not None and now.score is not None]
    known.sort(key=lambda one: sign * (one[0] - one[2]))
    return tuple(
        replace(picture, details=f"{before:.3g} before, {after:.3g} now")
        for before, picture, after in known[:NUM_GUILTY]
        if sign * (after - before) > 0
    )
