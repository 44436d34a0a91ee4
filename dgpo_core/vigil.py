"""The watch over what is never trained on: a score that rises while other numbers fall, and one that was higher."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from dgpo_core.config import RunConfig
from dgpo_core.events import EvaluationDone, Examined, ScoredGroup
from dgpo_core.examination import Watched
from dgpo_core.group_window import AGREEMENT, DIVERSITY, REWARD, GroupWindow, Mean, numbers_of
from dgpo_core.rewards.contract import Picture
from dgpo_core.rewards.label_scores import Scores

STANDARD_ERRORS = 2.0
"""A mean counts as moved when its change is so many of its standard errors from zero."""
ERRORS_BELOW_BEST = 3.0
"""The same for a fall from the best examination, which as the highest of several is a lucky one."""
SPREADS_BELOW_BEST = 0.2
"""And so many standard deviations of the pictures' scores, lest what is sure but tiny be an alarm."""
FEWEST_PICTURES = 8
"""With fewer in an examination, a fall from the best is not told from chance."""
DIVERSITY_FALL = 0.2
"""Share of the in-group diversity that may be lost."""
AGREEMENT_FALL = 0.2
"""How far Kendall's tau between people and the reward may fall."""
GROUPS_PER_LOOK = 60
"""Groups that are looked at together where no examination comes: their means are known to a few percent."""
NUM_GUILTY = 6
SCORE = "held-out score"


@dataclass(frozen=True, slots=True)
class Alarm:
    """Which number fell while the score rose, in words, and the pictures that fell most."""

    message: str
    guilty: tuple[Examined, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Baseline:
    """An examination, as far as later ones are held against it: its prompts, scores by picture and watched reward."""

    step: int
    score: float
    scores: Scores
    watched: dict[str, Scores]
    prompts: list[str] = field(default_factory=list)  # older checkpoints hold none


@dataclass(frozen=True, slots=True)
class _Fall:
    """A number that fell, from what to what, and the pictures that show it."""

    before: float
    after: float
    guilty: tuple[Examined, ...]


class Vigil:
    """Compares each examination with the first and with the best, and groups with the first groups.

    Says each fall once, and again after a recovery. What rises is the held-out score or, where it means the same in
    every group, the reward that is trained on. A held-out score that falls from its best needs no rise beside it.
    """

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._first: _Baseline | None = None
        self._best: _Baseline | None = None
        self._first_numbers: dict[str, float] = {}
        self._first_reward: Mean | None = None
        self._said: set[str] = set()
        self._since_examination, self._since_look = GroupWindow(), GroupWindow()
        self.examined_step: int | None = None
        """The step of the last examination that was seen; None before any."""

    @property
    def has_baseline(self) -> bool:
        return self._first is not None

    def as_values(self) -> dict[str, Any]:
        """What a resumed run needs to go on watching, as JSON values."""
        return {
            "first": asdict(self._first) if self._first else None,
            "best": asdict(self._best) if self._best else None,
            "first_numbers": self._first_numbers,
            "first_reward": asdict(self._first_reward) if self._first_reward else None,
            "said": sorted(self._said),
            "examined_step": self.examined_step,
            "since_examination": self._since_examination.as_values(),
            "since_look": self._since_look.as_values(),
        }

    def take_up(self, values: Mapping[str, Any]) -> None:
        """Goes on from as_values(); from nothing, it begins with the next examination."""
        if not values:
            return
        first, reward = values["first"], values.get("first_reward")  # older checkpoints hold no reward, nor windows
        if "since_look" in values:
            windows = (values[name] for name in ("since_examination", "since_look"))
            self._since_examination, self._since_look = (GroupWindow.of_values(window) for window in windows)
        self.examined_step = values.get("examined_step")
        best = values.get("best") or first  # older checkpoints hold none
        self._first = _Baseline(**first) if first else None
        self._best = _Baseline(**best) if best else None
        self._first_reward = Mean(**reward) if reward else None
        self._first_numbers, self._said = dict(values["first_numbers"]), set(values["said"])

    def see_groups(self, groups: Sequence[ScoredGroup], pictures: Sequence[Picture]) -> None:
        """Takes note of a step's groups, drawn by the policy; pictures are those of all groups in order."""
        start = 0
        for group in groups:
            numbers = numbers_of(group, pictures[start : start + len(group.samples)], self._config)
            start += len(group.samples)
            for window in (self._since_examination, self._since_look):
                window.see(group, numbers)

    def numbers(self) -> dict[str, float]:
        """Means over the groups since the last examination; what was not seen is left out."""
        return self._since_examination.values()

    def begin_with(self, done: EvaluationDone, watched: Watched) -> None:
        """Takes an examination for what later ones are compared with, unless it has no score."""
        if done.score is None:
            return
        self._first = _Baseline(
            step=done.step,
            score=done.score,
            scores=_scores(done.samples),
            watched={name: _scores(pictures) for name, pictures in watched.items()},
            prompts=_prompts(done, watched),
        )
        self._best = replace(self._first, watched={}, prompts=[])

    def see_examination(self, done: EvaluationDone, watched: Watched) -> list[Alarm]:
        """What fell while a score rose, and a score below its best; the first of each is what it is held against.

        So is the first with other prompts than before.
        """
        self.examined_step = done.step
        window, self._since_examination, self._since_look = self._since_examination, GroupWindow(), GroupWindow()
        rises, falls = self._rises_of(window), self._falls_of(window)
        if self._first is None or self._first.prompts != _prompts(done, watched):  # a person may have edited their file
            self.begin_with(done, watched)
            return []
        if moved(self._first.scores, _scores(done.samples)) > 0:
            rise = f"the {SCORE} rose from {self._first.score:.3g} to {done.score:.3g}"
            rises.insert(0, f"{rise} since step {self._first.step}")
        falls |= self._fallen_rewards(watched)
        return [*self._alarms(rises, falls, judged={*window.means, *watched}), *self._below_best(done)]

    def look(self) -> list[Alarm]:
        """Between examinations: what fell in the newest groups while their reward rose, once there are enough."""
        if self._since_look.num_groups < GROUPS_PER_LOOK:
            return []
        window, self._since_look = self._since_look, GroupWindow()
        return self._alarms(self._rises_of(window), self._falls_of(window), judged=set(window.means))

    def _alarms(self, rises: Sequence[str], falls: Mapping[str, _Fall], judged: set[str]) -> list[Alarm]:
        news = [name for name in falls if name not in self._said] if rises else []
        recovered = judged - set(falls)
        self._said = (self._said - recovered) | set(news)
        return [_alarm(rises[0], name, falls[name]) for name in news]

    def _below_best(self, done: EvaluationDone) -> list[Alarm]:
        """Says that the held-out score has fallen from its best, if it has; a better one is the best from now on."""
        if self._best is None or done.score is None:
            return []
        best, scores = self._best, _scores(done.samples)
        if done.score > best.score:
            self._best = _Baseline(step=done.step, score=done.score, scores=scores, watched={})
        if not _is_far_below(best.scores, scores):
            self._said.discard(SCORE)
            return []
        if SCORE in self._said:
            return []
        self._said.add(SCORE)
        message = (
            f"The {SCORE} fell from {best.score:.3g} at step {best.step} to {done.score:.3g}. "
            "Look at the pictures; stop and go back to an earlier checkpoint, lower update.learning_rate or raise "
            "loss.kl_weight."
        )
        return [Alarm(message, _most_lost(zip(best.scores, done.samples, strict=True)))]

    def _rises_of(self, window: GroupWindow) -> list[str]:
        """Says that the training reward rose, if it did; the first window is what later ones are compared with."""
        now, first = window.means.get(REWARD), self._first_reward
        if now is None or first is None:
            self._first_reward = first or now
            return []
        if not now.is_above(first, STANDARD_ERRORS):
            return []
        return [f"the {REWARD} rose from {first.value:.3g} to {now.value:.3g} since the first groups"]

    def _falls_of(self, window: GroupWindow) -> dict[str, _Fall]:
        """The numbers of groups that fell; each is compared with what it was when it was first known."""
        now = window.values()
        for name, value in now.items():
            self._first_numbers.setdefault(name, value)
        first = self._first_numbers
        least = {
            DIVERSITY: (1 - DIVERSITY_FALL) * first.get(DIVERSITY, 0.0),
            AGREEMENT: first.get(AGREEMENT, 0.0) - AGREEMENT_FALL,
        }
        return {
            name: _Fall(first[name], value, window.pictures_of(name, NUM_GUILTY))
            for name, value in now.items()
            if value < least[name]
        }

    def _fallen_rewards(self, watched: Watched) -> dict[str, _Fall]:
        assert self._first is not None
        found = {}
        for name, pictures in watched.items():
            before, after = self._first.watched.get(name, []), _scores(pictures)
            if moved(before, after) < 0:
                both = _both(before, after)
                lost = _most_lost(zip(before, pictures, strict=True))
                found[name] = _Fall(fmean(one for one, _ in both), fmean(other for _, other in both), lost)
        return found


def moved(
    before: Sequence[float | None], after: Sequence[float | None], standard_errors: float = STANDARD_ERRORS
) -> int:
    """1 where paired values rose by more than so many standard errors of their mean difference, -1 where they fell."""
    differences = [other - one for one, other in _both(before, after)]
    if len(differences) < 2:
        return 0
    mean, error = fmean(differences), stdev(differences) / sqrt(len(differences))
    return 0 if abs(mean) <= standard_errors * error else (1 if mean > 0 else -1)


def _is_far_below(best: Scores, now: Scores) -> bool:
    pairs = _both(best, now)
    if len(pairs) < FEWEST_PICTURES or moved(best, now, ERRORS_BELOW_BEST) >= 0:
        return False
    before = [one for one, _ in pairs]
    return fmean(before) - fmean(other for _, other in pairs) > SPREADS_BELOW_BEST * stdev(before)


def _alarm(rise: str, name: str, fall: _Fall) -> Alarm:
    message = (
        f"The reward may be gamed: {rise}, while {name} fell from {fall.before:.3g} to {fall.after:.3g}. "
        "Look at the pictures; raise loss.kl_weight, or stop and go back to an earlier checkpoint."
    )
    return Alarm(message, fall.guilty)


def _both(before: Sequence[float | None], after: Sequence[float | None]) -> list[tuple[float, float]]:
    pairs = zip(before, after, strict=False)
    return [(one, other) for one, other in pairs if one is not None and other is not None]


def _scores(pictures: Sequence[Examined]) -> Scores:
    return [one.score for one in pictures]


def _prompts(done: EvaluationDone, watched: Watched) -> list[str]:
    """All that was drawn or judged, in order: scores of others are not to be compared."""
    return [one.prompt for pictures in (done.samples, *watched.values()) for one in pictures]


def _most_lost(pairs: Iterable[tuple[float | None, Examined]]) -> tuple[Examined, ...]:
    """The pictures that lost most, worst first."""
    known = [(before, now, now.score) for before, now in pairs if before is not None and now.score is not None]
    known.sort(key=lambda one: one[2] - one[0])
    return tuple(
        replace(picture, details=f"{before:.3g} before, {after:.3g} now")
        for before, picture, after in known[:NUM_GUILTY]
        if after < before
    )
