"""The rivals that train on noised clean pictures, each against its paper's formula written out for one sample."""

from math import exp, log

import pytest
import torch

from dgpo_core.baselines.diffusion_dpo import best_and_worst, dpo_loss
from dgpo_core.baselines.diffusion_nft import nft_loss, optimality
from dgpo_core.baselines.reward_weighted import weighted_loss, weights


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_optimality_is_one_half_at_the_mean_and_stays_between_nothing_and_one():
    found = optimality(torch.tensor([-9.0, -2.5, 0.0, 2.5, 9.0]), clip=5.0)
    assert found.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_nft_is_the_papers_loss():
    velocity, old, target = normal(3, 8), normal(3, 8, seed=1), normal(3, 8, seed=2)
    good = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    found = nft_loss(velocity, old, target, good, strength=0.4)
    for row in range(3):
        plus = ((0.6 * old[row] + 0.4 * velocity[row] - target[row]) ** 2).mean()
        minus = ((1.4 * old[row] - 0.4 * velocity[row] - target[row]) ** 2).mean()
        assert float(found[row]) == pytest.approx(float(good[row] * plus + (1 - good[row]) * minus))


def test_nft_pulls_towards_good_pictures_and_away_from_bad_ones():
    old, target = normal(2, 8, seed=1), normal(2, 8, seed=2)
    velocity = old.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(
        nft_loss(velocity, old, target, torch.tensor([1.0, 0.0], dtype=torch.float64), strength=1.0).sum(), velocity
    )
    towards = target - old
    torch.testing.assert_close(gradient[0], -2 * towards[0] / 8)
    torch.testing.assert_close(gradient[1], 2 * towards[1] / 8)


def test_nft_gives_the_old_policy_no_gradient():
    old = normal(2, 8).requires_grad_()
    velocity = normal(2, 8, seed=1).requires_grad_()
    nft_loss(velocity, old, normal(2, 8, seed=2), torch.ones(2, dtype=torch.float64), strength=0.5).sum().backward()
    assert old.grad is None
    assert velocity.grad is not None


def test_best_and_worst_are_found_in_every_group():
    best, worst = best_and_worst(torch.tensor([0.0, 2.0, -1.0, 1.0, -3.0, 0.5]), group_size=3)
    assert (best.tolist(), worst.tolist()) == ([1, 3], [2, 4])


def test_dpo_is_the_papers_loss():
    found = dpo_loss(
        torch.tensor([0.30]), torch.tensor([0.50]), torch.tensor([0.35]), torch.tensor([0.45]), preference_beta=20.0
    )
    gained = (0.30 - 0.35) - (0.50 - 0.45)
    assert float(found) == pytest.approx(-log(1 / (1 + exp(20 * gained))), rel=1e-5)


def test_dpo_at_the_reference_is_log_two_and_pulls_the_errors_apart():
    best, worst = torch.tensor([0.3], requires_grad=True), torch.tensor([0.5], requires_grad=True)
    loss = dpo_loss(best, worst, torch.tensor([0.3]), torch.tensor([0.5]), preference_beta=100.0)
    loss.sum().backward()
    assert float(loss.detach()) == pytest.approx(log(2))
    assert float(best.grad) == pytest.approx(50) == -float(worst.grad)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 100.0])
def test_reward_weights_have_mean_one_in_their_group_and_keep_the_order(temperature):
    advantage = torch.tensor([1.0, -1.0, 0.0, 0.7, 0.3, -1.0])
    found = weights(advantage, torch.ones(6, dtype=torch.bool), 3, temperature=temperature)
    assert found.view(2, 3).mean(1).tolist() == pytest.approx([1, 1])
    assert torch.equal(found.view(2, 3).argsort(), advantage.view(2, 3).argsort())
    ratio = float(found[0] / found[2])
    assert ratio == pytest.approx(exp(1 / temperature), rel=1e-4)


def test_pictures_without_a_reward_have_no_weight():
    judged = torch.tensor([True, True, False, True, True, True])
    found = weights(torch.tensor([1.0, -1.0, 0.0, 0.0, 0.0, 0.0]), judged, 3, temperature=1.0).view(2, 3)
    share = exp(1) / (exp(1) + exp(-1))
    assert found[0].tolist() == pytest.approx([2 * share, 2 * (1 - share), 0])
    assert found[1].tolist() == pytest.approx([1, 1, 1])


def test_the_weighted_loss_is_the_error_times_its_weight():
    error = torch.tensor([0.5, 0.2], requires_grad=True)
    weighted_loss(error, torch.tensor([2.0, 0.0])).sum().backward()
    assert error.grad.tolist() == [2.0, 0.0]
