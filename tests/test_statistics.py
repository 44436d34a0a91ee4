"""The statistics of a before/after comparison, against exact enumeration and known values."""

from itertools import product
from math import comb, isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.statistics import PairedChange, paired_change, paired_interval, sign_test

score = st.floats(-10, 10, allow_nan=False)
pairs = st.lists(st.tuples(score, score), min_size=1, max_size=12)


def test_counts_means_and_change_of_a_small_comparison():
    assert paired_change([0, 0, 1, 1], [1, 1, 1, 0]) == PairedChange(
        num_better=2,
        num_worse=1,
        num_same=1,
        before_mean=0.5,
        after_mean=0.75,
        interval=paired_interval([0, 0, 1, 1], [1, 1, 1, 0]),
        p_value=1.0,
    )


def test_no_pair_gives_no_change():
    assert paired_change([], []) is None


@pytest.mark.parametrize(
    ("better", "worse", "p_value"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 2 / 2**5), (0, 5, 2 / 2**5), (9, 1, 22 / 2**10), (5, 5, 1.0), (3, 2, 1.0)],
)
def test_sign_test_knows_the_textbook_values(better, worse, p_value):
    assert sign_test(better, worse) == pytest.approx(p_value, rel=1e-12)


@given(st.integers(0, 6), st.integers(0, 6))
def test_sign_test_equals_counting_all_coin_tosses(better, worse):
    tosses = list(product((0, 1), repeat=better + worse))
    as_uneven = [abs(2 * sum(toss) - len(toss)) >= abs(better - worse) for toss in tosses]
    assert isclose(sign_test(better, worse), sum(as_uneven) / len(tosses))


def test_sign_test_of_many_pairs_stays_finite():
    assert 0 < sign_test(5200, 4800) < 0.001
    assert sign_test(10_000, 0) == 0.0


@given(pairs)
def test_swapping_the_sides_turns_the_change_around(some):
    before, after = [b for b, _ in some], [a for _, a in some]
    there, back = paired_change(before, after), paired_change(after, before)
    assert (there.num_better, there.num_worse, there.num_same) == (back.num_worse, back.num_better, back.num_same)
    assert there.p_value == back.p_value
    assert there.change == pytest.approx(-back.change)
    assert (there.interval is None) == (back.interval is None)


@given(pairs)
def test_the_interval_holds_the_observed_change_of_real_scores(some):
    before, after = [b + 0.5 for b, _ in some], [a for _, a in some]
    change = paired_change(before, after)
    if change.interval is not None and not set(before) | set(after) <= {0.0, 1.0}:
        low, high = change.interval
        assert low - 1e-9 <= change.change <= high + 1e-9


@pytest.mark.parametrize(("before", "after"), [([0.3], [0.9]), ([0.2, 0.4], [0.2, 0.4]), ([0.25, 0.5], [0.5, 0.75])])
def test_no_interval_where_the_pairs_cannot_tell(before, after):
    assert paired_interval(before, after) is None


def test_unchanged_verdicts_still_leave_room_for_doubt():
    low, high = paired_interval([1.0] * 60, [1.0] * 60)
    assert low == -high
    assert 0.01 < high < 0.05


def test_known_interval_of_verdicts():
    # Agresti and Min 2005 worked by hand: b* = 10.5, c* = 3.5, n* = 102, change 7/102.
    before = [0.0] * 10 + [1.0] * 3 + [1.0] * 87
    after = [1.0] * 10 + [0.0] * 3 + [1.0] * 87
    half_width = 1.959963985 * (14 - 49 / 102) ** 0.5 / 102
    assert paired_interval(before, after) == pytest.approx((7 / 102 - half_width, 7 / 102 + half_width), rel=1e-6)


@pytest.mark.parametrize(("p_better", "p_worse"), [(0.3, 0.05), (0.1, 0.1), (0.5, 0.2), (0.05, 0.02), (0.0, 0.0)])
def test_the_interval_of_verdicts_covers_the_truth_about_19_times_in_20(p_better, p_worse):
    num, covered = 30, 0.0
    for better in range(num + 1):
        for worse in range(num + 1 - better):
            chance = comb(num, better) * comb(num - better, worse) * p_better**better * p_worse**worse
            chance *= (1 - p_better - p_worse) ** (num - better - worse)
            same = num - better - worse
            before, after = [0.0] * better + [1.0] * (worse + same), [1.0] * better + [0.0] * worse + [1.0] * same
            low, high = paired_interval(before, after)
            covered += chance if low <= p_better - p_worse <= high else 0.0
    assert covered >= 0.93


def test_the_bootstrap_agrees_with_the_normal_interval_of_many_pairs():
    after = [0.001 * (i % 101) + 0.05 for i in range(808)]
    spread = (sum((x - 0.1) ** 2 for x in after) / 807) ** 0.5
    half_width = 1.96 * spread / 808**0.5
    low, high = paired_interval([0.0] * 808, after)
    assert (low, high) == pytest.approx((0.1 - half_width, 0.1 + half_width), abs=0.1 * half_width)


def test_the_same_pairs_always_get_the_same_interval():
    before, after = [0.1, 0.5, 0.3], [0.4, 0.2, 0.9]
    assert paired_interval(before, after) == paired_interval(before, after)
