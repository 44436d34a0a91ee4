"""Labels to scores: what people said of a group as one number per picture, None where nothing was said.

Scores only mean something inside their group: the group's own mean and spread make advantages of them, which sum to
zero whatever the kind of label (docs/method.md eq. 4). A group where all said is equal has no preference.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

import choix
from scipy.stats import kendalltau

from dgpo_core.label import Label, Likes, Pairs, Picks, Ranking, Stars
from dgpo_core.rewards.mixture import standardised

Scores = list[float | None]
PAIR_REGULARIZATION = 0.1
"""Pull towards equal strengths; without one, a picture that won all its pairs would be infinitely good."""


def scores_of(label: Label, size: int) -> Scores:
    """One score per picture of a group, higher is better.

    A ranking scores minus the mean place of a tier, pictures in no tier sharing the last; picks score 1 and 0, likes
    1 and 0, stars themselves; pairs score the strengths of Bradley and Terry's model; a skip says nothing.
    """
    if isinstance(label, Ranking):
        return _places(label, size)
    if isinstance(label, Picks):
        return [1.0 if member in label.best else 0.0 for member in range(size)]
    if isinstance(label, Likes):
        known = dict.fromkeys(label.liked, 1.0) | dict.fromkeys(label.disliked, 0.0)
        return [known.get(member) for member in range(size)]
    if isinstance(label, Stars):
        return [None if one is None else float(one) for one in label.stars]
    return _strengths(label, size) if isinstance(label, Pairs) else [None] * size


def _places(label: Ranking, size: int) -> Scores:
    named = {member for tier in label.tiers for member in tier}
    rest = tuple(member for member in range(size) if member not in named)
    scores: Scores = [None] * size
    place = 0
    for tier in (*label.tiers, rest):
        for member in tier:
            scores[member] = -(place + (len(tier) - 1) / 2)
        place += len(tier)
    return scores


def _strengths(label: Pairs, size: int) -> Scores:
    """Strengths after the verdicts and what follows from them; of pictures in no pair nothing is known.

    A win counts as two comparisons won, a tie as one each way. Without the pairs that follow (a over b, b over c: a
    over c), strengths of the few pairs that sort a group need not be in its order.
    """
    seen = sorted({member for one in label.verdicts for member in (one.first, one.second)})
    place = {member: index for index, member in enumerate(seen)}
    won: list[tuple[int, int]] = []
    for one in label.verdicts:
        forward, backward = (place[one.first], place[one.second]), (place[one.second], place[one.first])
        won += {"first": [forward, forward], "second": [backward, backward]}.get(one.verdict, [forward, backward])
    won += _implied(won, len(seen))
    strengths = choix.ilsr_pairwise(len(seen), won, alpha=PAIR_REGULARIZATION)
    return [float(strengths[place[member]]) if member in place else None for member in range(size)]


def _implied(won: Sequence[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """Comparisons of pairs that nobody judged, but whose order, or tie, follows from those that were."""
    is_judged = {frozenset(pair) for pair in won}
    not_below = set(won)  # the first of each is at least as good as the second
    for middle in range(size):
        above = [one for one in range(size) if (one, middle) in not_below]
        below = [one for one in range(size) if (middle, one) in not_below]
        not_below |= {(better, worse) for better in above for worse in below}
    found = []
    for better, worse in sorted(not_below):
        if better != worse and frozenset((better, worse)) not in is_judged:
            found += [(better, worse)] * (1 if (worse, better) in not_below else 2)
    return found


def merged(scores: Sequence[Scores], weights: Sequence[float]) -> Scores:
    """What several people said of one group, each brought to mean 0 and spread 1, weighted; None where nobody spoke.

    Who found all alike, or nearly (as in a mixture), counts as that; who said nothing does not count.
    """
    standard = [standardised(one, [None] * len(one)) for one in scores]
    result: Scores = []
    for member in range(len(scores[0]) if scores else 0):
        said = [(one[member], weight) for one, weight in zip(standard, weights, strict=True) if weight > 0]
        known = [(score, weight) for score, weight in said if score is not None]
        total = sum(weight for _, weight in known)
        result.append(sum(score * weight for score, weight in known) / total if known else None)
    return result


def agreement(one: Scores, other: Scores) -> float | None:
    """Kendall's tau-b of two opinions of a group over the pictures both speak of, -1 to 1; None where undefined.

    It is undefined for fewer than two such pictures, or where one of the two finds them all alike.
    """
    together = zip(one, other, strict=True)
    both = [(first, second) for first, second in together if first is not None and second is not None]
    if len(both) < 2:
        return None
    tau = float(kendalltau(*zip(*both, strict=True)).statistic)
    return None if isnan(tau) else tau


def has_preference(scores: Scores) -> bool:
    """Whether a group's scores put any picture before another."""
    return len({score for score in scores if score is not None}) > 1
