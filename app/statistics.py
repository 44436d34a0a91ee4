"""What a before/after comparison shows, and how sure one may be of it.

Every prompt is drawn twice from the same noise, so the differences of pairs are
what counts; treating the two sides as independent would throw that away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, fmean

import numpy as np

CONFIDENCE = 0.95
NUM_RESAMPLES = 4000
RESAMPLES_AT_ONCE = 250
BOOTSTRAP_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedChange:
    """Scores before and after, over the pairs that have both.

    interval holds the change with 95% confidence; None where the pairs cannot tell (fewer
    than two, or all with one and the same difference). p_value is the exact two-sided sign test.
    """

    num_better: int
    num_worse: int
    num_same: int
    before_mean: float
    after_mean: float
    interval: tuple[float, float] | None
    p_value: float

    @property
    def num_pairs(self) -> int:
        return self.num_better + self.num_worse + self.num_same

    @property
    def change(self) -> float:
        return self.after_mean - self.before_mean


def paired_change(before: Sequence[float], after: Sequence[float]) -> PairedChange | None:
    """The change from before to after, pair by pair; None when there is no pair."""
    assert len(before) == len(after)
    if not before:
        return None
    num_better = sum(b < a for b, a in zip(before, after, strict=True))
    num_worse = sum(b > a for b, a in zip(before, after, strict=True))
    return PairedChange(
        num_better=num_better,
        num_worse=num_worse,
        num_same=len(before) - num_better - num_worse,
        before_mean=fmean(before),
        after_mean=fmean(after),
        interval=paired_interval(before, after),
        p_value=sign_test(num_better, num_worse),
    )


def sign_test(num_better: int, num_worse: int) -> float:
    """Chance of a split at least this uneven if better and worse were equally likely; pairs that tie do not count."""
    num = num_better + num_worse
    ways = tail = 1
    for k in range(min(num_better, num_worse)):
        ways = ways * (num - k) // (k + 1)
        tail += ways
    return min(1.0, 2 * tail / 2**num)


def paired_interval(before: Sequence[float], after: Sequence[float]) -> tuple[float, float] | None:
    """Confidence interval of the mean difference, after minus before.

    Verdicts of right and wrong (all scores 0 or 1) get the closed form of Agresti and Min (2005),
    which stays honest for few pairs and when no pair changed; other scores get the bootstrap.
    """
    if len(before) < 2:
        return None
    differences = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    if set(before) | set(after) <= {0.0, 1.0}:
        return _agresti_min(int((differences > 0).sum()), int((differences < 0).sum()), len(differences))
    if np.ptp(differences) == 0.0:
        return None
    return _bootstrap(differences)


def _agresti_min(num_better: int, num_worse: int, num_pairs: int) -> tuple[float, float]:
    """Wald interval of a difference of paired proportions with half a pair added to each of the four cells."""
    better, worse, num = num_better + 0.5, num_worse + 0.5, num_pairs + 2
    change = (better - worse) / num
    half_width = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * sqrt(better + worse - (better - worse) ** 2 / num) / num
    return max(-1.0, change - half_width), min(1.0, change + half_width)


def _bootstrap(differences: np.ndarray) -> tuple[float, float]:
    """Percentile interval of resampled means, widened by sqrt(n / (n - 1)) because resampling shrinks the spread."""
    draw = np.random.default_rng(BOOTSTRAP_SEED)
    num = len(differences)
    means = np.concatenate(
        [
            differences[draw.integers(num, size=(RESAMPLES_AT_ONCE, num))].mean(axis=1)
            for _ in range(NUM_RESAMPLES // RESAMPLES_AT_ONCE)
        ]
    )
    centre = differences.mean()
    widened = centre + (means - centre) * sqrt(num / (num - 1))
    low, high = np.quantile(widened, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
