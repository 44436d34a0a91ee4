"""The likelihood of orders, the trust in heads, and the doubt among them, against values worked out by hand."""

from itertools import permutations
from math import exp, log, nan

import pytest
import torch

from dgpo_core.preference.orders import order_loss, pair_information, pairs, trust


def loss_of(strength, said):
    return order_loss(torch.tensor([strength]), torch.tensor([said])).item()


def test_two_pictures_have_the_likelihood_of_bradley_and_terry():
    assert loss_of([1.5, 0.5], [1.0, 0.0]) == pytest.approx(log(1 + exp(-1)))
    assert loss_of([1.5, 0.5], [0.0, 1.0]) == pytest.approx(log(1 + exp(1)))


def test_the_likelihoods_of_all_orders_sum_to_one():
    strength = [0.3, -1.0, 2.0, 0.0]
    total = 0.0
    for order in permutations(range(4)):
        said = [0.0] * 4
        for place, member in enumerate(order):
            said[member] = float(-place)
        total += exp(-3 * loss_of(strength, said))  # three choices, of which the loss is the mean
    assert total == pytest.approx(1, abs=1e-5)


def test_picks_are_choices_each_against_all_that_were_not_picked():
    first, second = (log(exp(s) + exp(0.0) + exp(-1.0)) - s for s in (2.0, 1.0))
    assert loss_of([2.0, 1.0, 0.0, -1.0], [1.0, 1.0, 0.0, 0.0]) == pytest.approx((first + second) / 2)


def test_pictures_nothing_was_said_of_change_nothing():
    assert loss_of([1.5, 9.0, 0.5], [1.0, nan, 0.0]) == pytest.approx(loss_of([1.5, 0.5], [1.0, 0.0]))
    assert loss_of([1.0, 2.0], [nan, nan]) == 0
    assert loss_of([1.0, 2.0], [3.0, 3.0]) == 0


def test_the_gradient_is_finite_also_where_nothing_was_said():
    strength = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], requires_grad=True)
    order_loss(strength, torch.tensor([[nan, 1.0, 0.0], [nan, nan, nan]])).sum().backward()
    assert strength.grad[0, 0] == 0
    assert strength.grad[0, 1].item() == pytest.approx(-strength.grad[0, 2].item())
    assert strength.grad[0, 2] > 0.5
    assert strength.grad[1].tolist() == [0, 0, 0]


def test_an_order_is_a_matter_of_one_group():
    said = torch.tensor([[2.0, 1.0, nan], [5.0, 5.0, 7.0]])
    assert pairs(said).nonzero().tolist() == [[0, 0, 1], [1, 2, 0], [1, 2, 1]]


def test_accuracy_is_the_share_of_pairs_and_a_tie_of_the_head_is_half_right():
    said = torch.tensor([[3.0, 2.0, 1.0]])
    assert trust(torch.tensor([[3.0, 2.0, 1.0]]), said).accuracy == 1
    assert trust(torch.tensor([[1.0, 2.0, 3.0]]), said).accuracy == 0
    assert trust(torch.tensor([[1.0, 1.0, 0.0]]), said).accuracy == pytest.approx(2.5 / 3)
    assert trust(torch.zeros(1, 3), torch.tensor([[1.0, 1.0, nan]])) is None


def test_who_is_as_sure_as_right_has_no_calibration_error_and_who_boasts_has_much():
    def found(gap, right_of_ten):
        said = torch.tensor([[1.0, 0.0]] * right_of_ten + [[0.0, 1.0]] * (10 - right_of_ten))
        return trust(torch.tensor([[gap, 0.0]] * 10), said)

    honest = found(log(0.7 / 0.3), 7)
    assert honest.calibration_error == pytest.approx(0, abs=1e-6)
    assert [(one.sure, one.right, one.count) for one in honest.bins] == [(pytest.approx(0.7), pytest.approx(0.7), 10)]
    assert found(10.0, 7).calibration_error == pytest.approx(0.3, abs=1e-3)


def test_the_information_of_a_pair_is_greatest_where_it_is_open_and_none_where_it_is_silent():
    features = torch.tensor([[[2.0, 0.0], [0.0, 1.0]]])
    gap = torch.tensor([2.0, -1.0])
    even = pair_information(features, torch.zeros(1, 2))
    assert torch.allclose(even[0], 0.25 * gap[:, None] * gap)
    sure = pair_information(features, torch.tensor([[9.0, 0.0]]))
    assert (sure.abs() < 1e-3).all()
    assert pair_information(features, torch.zeros(1, 2), torch.tensor([[1.0, nan]])).abs().sum() == 0
    assert torch.equal(pair_information(features, torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])), even)
