"""How far each rater may be believed, from what they said of groups that others, or they themselves, judged too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from dgpo_core.rewards.label_scores import Scores, agreement

UNKNOWN_QUALITY, UNKNOWN_WORTH = 0.7, 2.0
"""What a rater is taken for before anything is known, and how many comparisons with a perfect rater that is worth."""
BEST_QUALITY = 0.95
NUM_ROUNDS = 200


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one rater said of one group, once; of a group judged twice there are two."""

    rater: str
    group: int
    scores: Scores


@dataclass(frozen=True, slots=True)
class Match:
    """Kendall's tau-b of two opinions of one group; both raters are the same where a group was judged twice."""

    first: str
    second: str
    tau: float


def matches(opinions: Iterable[Opinion]) -> list[Match]:
    """Every two opinions of the same group whose orders can be compared."""
    by_group: defaultdict[int, list[Opinion]] = defaultdict(list)
    for one in opinions:
        by_group[one.group].append(one)
    return [
        Match(first.rater, second.rater, tau)
        for together in by_group.values()
        for first, second in combinations(together, 2)
        if (tau := agreement(first.scores, second.scores)) is not None
    ]


def qualities(raters: Iterable[str], found: Sequence[Match]) -> dict[str, float]:
    """Each rater's correlation with what they agree on, -1 to 1, pulled to UNKNOWN_QUALITY while little is known.

    Two raters of quality q and r are expected to agree with tau q r, and one with themselves with tau q q; the
    qualities are the least-squares answer with a prior, in alternating steps. Who is most often contradicted by the
    others gets a negative one, however steady; of two who contradict each other neither is believed more.
    """
    quality = dict.fromkeys(raters, UNKNOWN_QUALITY)
    met: defaultdict[str, defaultdict[str, _Meetings]] = defaultdict(lambda: defaultdict(_Meetings))
    for one in found:
        met[one.first][one.second].add(one.tau)
        if one.first != one.second:
            met[one.second][one.first].add(one.tau)
    for _ in range(NUM_ROUNDS):
        aimed = {rater: _aimed(quality, met[rater]) for rater in quality}
        quality = {rater: (quality[rater] + aimed[rater]) / 2 for rater in quality}
    return quality


@dataclass(slots=True)
class _Meetings:
    """All comparisons of two raters: how many, and the sum of their taus."""

    count: int = 0
    tau: float = 0.0

    def add(self, tau: float) -> None:
        self.count += 1
        self.tau += tau


def _aimed(quality: Mapping[str, float], met: Mapping[str, _Meetings]) -> float:
    pull = UNKNOWN_WORTH * UNKNOWN_QUALITY + sum(all_.tau * quality[other] for other, all_ in met.items())
    worth = UNKNOWN_WORTH + sum(all_.count * quality[other] ** 2 for other, all_ in met.items())
    return max(-1.0, min(1.0, pull / worth))


def weight_of(quality: float) -> float:
    """The weight of a rater's standardized scores in a mean: q / (1 - q^2), best for scores that are the truth times q
    and noise. 0 where a rater says the opposite of the others: they are left out, not turned round."""
    known = min(max(quality, 0.0), BEST_QUALITY)
    return known / (1 - known**2)
