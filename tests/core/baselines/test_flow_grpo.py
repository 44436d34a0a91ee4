"""Flow-GRPO's sampler on data whose answer is known, and its loss against torch's own distributions."""

import pytest
import torch
from torch.distributions import Normal

from dgpo_core.baselines.flow_grpo import clipped_surrogate, kl_of_means, log_probability, sample_path, transition
from dgpo_core.errors import LabError
from dgpo_core.samplers import sample_euler
from dgpo_core.schedules import linear_sigmas

MEAN, STD = 0.7, 0.4
STEP = {"sigma": 0.6, "lower": 0.45, "noise_level": 0.7, "highest_sigma": 0.9}


def gaussian_velocity(x, sigma):
    """The expected noise - clean at x, where clean pictures are normal with MEAN and STD."""
    variance = (1 - sigma) ** 2 * STD**2 + sigma**2
    return (sigma - (1 - sigma) * STD**2) / variance * (x - (1 - sigma) * MEAN) - MEAN


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generators(count):
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


@pytest.mark.parametrize("noise_level", [0.3, 0.7, 1.0])
def test_noise_along_the_way_leaves_the_pictures_as_they_are_spread(noise_level):
    path = sample_path(
        gaussian_velocity,
        normal(16, 4000),
        linear_sigmas(400).double(),
        noise_level=noise_level,
        generators=generators(16),
    )
    assert float(path.clean.mean()) == pytest.approx(MEAN, abs=0.01)
    assert float(path.clean.std()) == pytest.approx(STD, abs=0.01)


def test_without_noise_it_is_euler():
    x, sigmas = normal(3, 8), linear_sigmas(8).double()
    path = sample_path(gaussian_velocity, x, sigmas, noise_level=0.0, generators=generators(3))
    torch.testing.assert_close(path.clean, sample_euler(gaussian_velocity, x, sigmas))
    assert torch.equal(path.points[0], x)
    assert len(path.points) == len(sigmas)


def test_the_last_step_adds_no_noise():
    assert transition(normal(2, 4), normal(2, 4, seed=1), **STEP | {"lower": 0.0}).std == 0


def test_the_step_from_pure_noise_is_finite():
    step = transition(normal(2, 4), normal(2, 4, seed=1), sigma=1.0, lower=0.875, noise_level=0.7, highest_sigma=0.875)
    assert step.mean.isfinite().all()
    assert 0 < step.std < 2


def test_a_path_does_not_depend_on_its_batch_and_may_be_stopped():
    x, sigmas = normal(4, 8), linear_sigmas(5).double()
    whole = sample_path(gaussian_velocity, x, sigmas, noise_level=0.7, generators=generators(4))
    alone = sample_path(gaussian_velocity, x[2:3], sigmas, noise_level=0.7, generators=generators(4)[2:3])
    torch.testing.assert_close(whole.clean[2:3], alone.clean)

    def stop(index, total):
        raise LabError(f"stopped at {index} of {total}")

    with pytest.raises(LabError, match="stopped at 0 of 5"):
        sample_path(gaussian_velocity, x, sigmas, noise_level=0.7, generators=generators(4), on_step=stop)


def test_the_log_probability_is_that_of_a_normal_distribution():
    step = transition(normal(3, 2, 4, 4), normal(3, 2, 4, 4, seed=1), **STEP)
    point = normal(3, 2, 4, 4, seed=2)
    expected = Normal(step.mean, step.std).log_prob(point).flatten(1).mean(1)
    torch.testing.assert_close(log_probability(point, step), expected)


def test_the_divergence_of_two_transitions_is_that_of_normal_distributions():
    one, other = normal(3, 8), normal(3, 8, seed=1)
    expected = torch.distributions.kl_divergence(Normal(one, 0.3), Normal(other, 0.3)).mean(1)
    torch.testing.assert_close(kl_of_means(one, other, 0.3), expected)


def test_the_loss_has_the_gradient_of_a_clipped_policy_gradient():
    velocity = normal(6, 4).requires_grad_()
    x, point = normal(6, 4, seed=1), normal(6, 4, seed=2)
    advantage = torch.tensor([1.0, -1.0, 2.0, -2.0, 0.5, 0.0], dtype=torch.float64)
    new = log_probability(point, transition(velocity, x, **STEP))
    old = new.detach() + torch.tensor([0.0, 0.0, -0.5, 0.5, 0.5, 0.0], dtype=torch.float64)
    loss, is_clipped = clipped_surrogate(new, old, advantage, clip_range=0.2)
    assert is_clipped.tolist() == [False, False, True, True, False, False]
    (found,) = torch.autograd.grad(loss.sum(), velocity, retain_graph=True)
    weight = torch.where(is_clipped, 0.0, -advantage * (new - old).exp()).detach()
    (expected,) = torch.autograd.grad((weight * new).sum(), velocity)
    torch.testing.assert_close(found, expected)
