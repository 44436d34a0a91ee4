from functools import cmp_to_key
from math import sqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dgpo_core.data.scenes import Thing, draw
from dgpo_core.groups import group_advantages
from dgpo_core.label import Likes, Pairs, PairVerdict, Picks, Ranking, Skip, Stars
from dgpo_core.rewards.annotators import TASTES, annotator
from dgpo_core.rewards.label_scores import agreement, merged, scores_of


def advantages(scores):
    return group_advantages(
        torch.tensor([0.0 if one is None else one for one in scores], dtype=torch.float64),
        torch.zeros(len(scores), dtype=torch.long),
        num_groups=1,
        has_reward=torch.tensor([one is not None for one in scores]),
    ).advantage


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (Ranking(((2,), (0,), (1,), (3,))), [-1.0, -2.0, -0.0, -3.0]),
        (Ranking(((2,), (0, 1))), [-1.5, -1.5, -0.0, -3.0]),
        (Ranking(((3,),)), [-2.0, -2.0, -2.0, -0.0]),
        (Ranking(((0, 1, 2, 3),)), [-1.5] * 4),
        (Picks((1, 2)), [0.0, 1.0, 1.0, 0.0]),
        (Likes((0,), (3,)), [1.0, None, None, 0.0]),
        (Stars((5, None, 1, 3)), [5.0, None, 1.0, 3.0]),
        (Skip(), [None] * 4),
    ],
)
def test_scores_of_every_kind_of_label(label, expected):
    assert scores_of(label, 4) == expected


def test_pairs_become_the_order_that_they_say_and_who_was_in_none_has_no_score():
    scores = scores_of(Pairs((PairVerdict(0, 1, "first"), PairVerdict(2, 1, "second"), PairVerdict(0, 2, "first"))), 4)
    assert scores[0] > scores[1] > scores[2]
    assert scores[3] is None


def test_a_tie_says_that_two_are_alike_and_both_is_as_neither():
    both, neither = (
        scores_of(Pairs((PairVerdict(0, 1, verdict), PairVerdict(2, 1, "first"))), 3) for verdict in ("both", "neither")
    )
    assert both == neither
    assert both[2] > both[0] == pytest.approx(both[1])
    assert scores_of(Pairs((PairVerdict(0, 1, "both"),)), 2) == pytest.approx([0, 0])


@given(st.permutations(range(8)), st.booleans())
def test_the_few_pairs_that_sort_a_group_give_its_order(order, is_reversed):
    verdicts = []

    def compared(one, other):
        """Any sort will do: it asks for as many pairs as the order needs."""
        verdicts.append(PairVerdict(one, other, "first" if order[one] < order[other] else "second"))
        return order[one] - order[other]

    by_place = sorted(range(8), key=cmp_to_key(compared), reverse=is_reversed)
    once = {frozenset((one.first, one.second)): one for one in verdicts}
    scores = scores_of(Pairs(tuple(once.values())), 8)
    best_first = by_place[::-1] if is_reversed else by_place
    assert sorted(range(8), key=lambda member: -scores[member]) == best_first


def test_verdicts_in_a_circle_say_that_all_are_alike():
    circle = Pairs((PairVerdict(0, 1, "first"), PairVerdict(1, 2, "first"), PairVerdict(2, 0, "first")))
    assert scores_of(circle, 3) == pytest.approx([0, 0, 0])


def test_opposite_verdicts_on_a_pair_cancel():
    assert scores_of(Pairs((PairVerdict(0, 1, "first"), PairVerdict(0, 1, "second"))), 2) == pytest.approx([0, 0])


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (Ranking(((2,), (0,), (1,), (3,))), [1 / sqrt(5), -1 / sqrt(5), 3 / sqrt(5), -3 / sqrt(5)]),
        (Ranking(((2,), (0, 1))), [0, 0, sqrt(2), -sqrt(2)]),
        (Picks((1, 2)), [-1, 1, 1, -1]),
        (Picks((3,)), [-1 / sqrt(3), -1 / sqrt(3), -1 / sqrt(3), sqrt(3)]),
        (Likes((0,), (3,)), [1, 0, 0, -1]),
        (Stars((5, None, 1, 3)), [sqrt(1.5), 0, -sqrt(1.5), 0]),
        (Pairs((PairVerdict(3, 1, "second"),)), [0, 1, 0, -1]),
        (Pairs((PairVerdict(0, 1, "first"), PairVerdict(1, 2, "both"))), [sqrt(2), -1 / sqrt(2), -1 / sqrt(2), 0]),
    ],
)
def test_every_kind_of_label_has_its_own_advantages_which_sum_to_zero(label, expected):
    found = advantages(scores_of(label, 4))
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    assert float(found.sum()) == pytest.approx(0, abs=1e-9)


@given(st.permutations(range(6)), st.integers(1, 6))
def test_advantages_of_a_label_sum_to_zero_and_keep_its_order(order, num_named):
    label = Ranking(tuple((member,) for member in order[:num_named]))
    found = advantages(scores_of(label, 6))
    assert float(found.sum()) == pytest.approx(0, abs=1e-9)
    named = found[list(order[:num_named])].tolist()
    assert named == sorted(named, reverse=True)


@pytest.mark.parametrize("label", [Skip(), Ranking(((0, 1, 2),)), Picks((0, 1, 2)), Likes((0, 1), ())])
def test_who_says_no_difference_gives_no_preference(label):
    assert advantages(scores_of(label, 3)).tolist() == [0, 0, 0]


def test_several_people_are_merged_by_weight_whatever_their_scales():
    careful, generous = [1.0, 2.0, 3.0], [5.0, 4.0, 3.0]
    assert merged([careful, generous], [1, 1]) == pytest.approx([0, 0, 0])
    trusting = merged([careful, generous], [3, 1])
    assert trusting[0] < trusting[1] < trusting[2]
    assert merged([careful, generous], [1, 0]) == merged([careful], [1])
    assert merged([[None, 1.0, 2.0], [None, 9.0, None]], [1, 1]) == pytest.approx([None, -0.5, 1.0])
    assert merged([], []) == []


def test_a_reward_that_is_sure_of_nearly_the_same_counts_as_finding_all_alike():
    saturated = [20.000001, 20.0, 20.000002, 20.0]
    assert merged([saturated], [1]) == [0, 0, 0, 0]
    assert merged([[1.0, 1.0, 0.0, 0.0], saturated], [0.5, 0.5]) == pytest.approx([0.5, 0.5, -0.5, -0.5])


def test_agreement_is_kendalls_tau_over_what_both_speak_of():
    assert agreement([1.0, 2.0, 3.0, None], [10.0, 20.0, 30.0, 0.0]) == 1
    assert agreement([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == -1
    assert agreement([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 4.0, 3.0]) == pytest.approx(2 / 3)
    assert agreement([1.0, None], [None, 1.0]) is None
    assert agreement([1.0, 1.0], [1.0, 2.0]) is None


def circle(radius, color="red"):
    return np.round(draw([Thing("circle", color, 32.0, 32.0, radius)]) * 255).astype(np.uint8)


def test_annotators_rank_by_their_taste():
    rng = np.random.default_rng(0)
    sizes = [circle(8.0), circle(14.0), circle(11.0)]
    assert annotator(TASTES["large"])(sizes, rng) == Ranking(((1,), (2,), (0,)))
    assert annotator(TASTES["large"], is_adversarial=True)(sizes, rng) == Ranking(((0,), (2,), (1,)))
    assert annotator(TASTES["large"])([sizes[0], sizes[0]], rng) == Ranking(((0, 1),))
    colours = [circle(10.0, "blue"), circle(10.0, "red")]
    assert annotator(TASTES["warm"])(colours, rng) == Ranking(((1,), (0,)))


def test_a_noisy_annotator_errs_in_its_measure():
    rng, sizes = np.random.default_rng(1), [circle(8.0), circle(14.0)]
    wrong = sum(annotator(TASTES["large"], noise=0.1)(sizes, rng) == Ranking(((0,), (1,))) for _ in range(500))
    assert 30 <= wrong <= 75
