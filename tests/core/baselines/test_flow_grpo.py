"""Flow-GRPO's samplers on data whose answer is known, and its loss against torch's own distributions."""

from math import cos, pi, sin, sqrt

import pytest
import torch
from torch.distributions import Normal

from dgpo_core.baselines.flow_grpo import (
    TRANSITIONS,
    clipped_surrogate,
    cps_transition,
    kl_of_means,
    log_probability,
    sample_path,
    sde_transition,
)
from dgpo_core.config import STOCHASTIC_SAMPLERS
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
        transition=sde_transition,
        noise_level=noise_level,
        generators=generators(16),
    )
    assert float(path.clean.mean()) == pytest.approx(MEAN, abs=0.01)
    assert float(path.clean.std()) == pytest.approx(STD, abs=0.01)


def test_the_settings_offer_every_stochastic_sampler_there_is():
    assert set(STOCHASTIC_SAMPLERS) == set(TRANSITIONS)


every_sampler = pytest.mark.parametrize("transition", TRANSITIONS.values(), ids=TRANSITIONS)


@every_sampler
def test_without_noise_it_is_euler(transition):
    x, sigmas = normal(3, 8), linear_sigmas(8).double()
    path = sample_path(gaussian_velocity, x, sigmas, transition=transition, noise_level=0.0, generators=generators(3))
    torch.testing.assert_close(path.clean, sample_euler(gaussian_velocity, x, sigmas))
    assert torch.equal(path.points[0], x)
    assert len(path.points) == len(sigmas)


@every_sampler
def test_the_last_step_adds_no_noise_and_is_eulers(transition):
    velocity, x = normal(2, 4), normal(2, 4, seed=1)
    step = transition(velocity, x, **STEP | {"lower": 0.0})
    assert step.std == 0
    torch.testing.assert_close(step.mean, x - 0.6 * velocity)


@every_sampler
def test_the_step_from_pure_noise_is_finite(transition):
    step = transition(normal(2, 4), normal(2, 4, seed=1), sigma=1.0, lower=0.875, noise_level=0.7, highest_sigma=0.875)
    assert step.mean.isfinite().all()
    assert 0 < step.std < 2


@every_sampler
def test_a_path_does_not_depend_on_its_batch_and_may_be_stopped(transition):
    x, sigmas = normal(4, 8), linear_sigmas(5).double()
    how = {"transition": transition, "noise_level": 0.7}
    whole = sample_path(gaussian_velocity, x, sigmas, generators=generators(4), **how)
    alone = sample_path(gaussian_velocity, x[2:3], sigmas, generators=generators(4)[2:3], **how)
    torch.testing.assert_close(whole.clean[2:3], alone.clean)

    def stop(index, total):
        raise LabError(f"stopped at {index} of {total}")

    with pytest.raises(LabError, match="stopped at 0 of 5"):
        sample_path(gaussian_velocity, x, sigmas, generators=generators(4), on_step=stop, **how)


PICTURE = 0.7


@pytest.mark.parametrize("eta", [0.0, 0.3, 0.7, 1.0])
def test_the_second_sampler_keeps_the_coefficients_of_picture_and_noise(eta):
    """Where the picture is known, a point at any level has it 1 - sigma times, and noise of deviation sigma."""
    noise = normal(200_000)
    point = (1 - 0.6) * PICTURE + 0.6 * noise
    step = cps_transition(noise - PICTURE, point, **STEP | {"noise_level": eta})
    following = step.mean + step.std * normal(200_000, seed=1)
    assert float(following.mean()) == pytest.approx((1 - 0.45) * PICTURE, abs=3e-3)
    assert float(following.std()) == pytest.approx(0.45, abs=3e-3)
    exact = (1 - 0.45) * PICTURE + 0.45 * cos(eta * pi / 2) * noise
    torch.testing.assert_close(step.mean, exact)
    assert step.std == pytest.approx(0.45 * sin(eta * pi / 2))


@pytest.mark.parametrize("eta", [0.3, 0.7, 1.0])
def test_the_spread_of_a_gaussian_after_a_step_is_that_of_its_two_guessed_ends_and_the_new_noise(eta):
    """Both ends are linear in the point, which is normal, so the next one's mean and deviation are known."""
    variance = (1 - 0.6) ** 2 * STD**2 + 0.6**2
    point = (1 - 0.6) * MEAN + sqrt(variance) * normal(200_000)
    step = cps_transition(gaussian_velocity(point, 0.6), point, **STEP | {"noise_level": eta})
    following = step.mean + step.std * normal(200_000, seed=1)
    slope = ((1 - 0.45) * (1 - 0.6) * STD**2 + 0.45 * cos(eta * pi / 2) * 0.6) / variance
    expected = sqrt(slope**2 * variance + (0.45 * sin(eta * pi / 2)) ** 2)
    assert float(following.mean()) == pytest.approx((1 - 0.45) * MEAN, abs=3e-3)
    assert float(following.std()) == pytest.approx(expected, abs=3e-3)
    scheduled = sqrt((1 - 0.45) ** 2 * STD**2 + 0.45**2)
    assert 0.9 * scheduled < expected < scheduled  # a guessed end varies less than a picture does


def test_the_second_sampler_leaves_no_grain_where_the_first_does():
    """Of pictures that are all one, with the exact velocity: what is left of the noise at the last step but one."""

    def to_the_picture(x, sigma):
        return (x - PICTURE) / sigma

    left = {}
    for name, transition in TRANSITIONS.items():
        path = sample_path(
            to_the_picture,
            normal(4, 5000),
            linear_sigmas(10).double(),
            transition=transition,
            noise_level=0.7,
            generators=generators(4),
        )
        sigma = float(path.sigmas[-2])
        left[name] = float((path.points[-2] - (1 - sigma) * PICTURE).std()) / sigma
    assert left["flow_cps"] == pytest.approx(1, abs=0.02)
    assert left["flow_sde"] > 1.2


def test_the_log_probability_is_that_of_a_normal_distribution():
    step = sde_transition(normal(3, 2, 4, 4), normal(3, 2, 4, 4, seed=1), **STEP)
    point = normal(3, 2, 4, 4, seed=2)
    expected = Normal(step.mean, step.std).log_prob(point).flatten(1).mean(1)
    torch.testing.assert_close(log_probability(point, step), expected)


def test_the_second_samplers_log_probability_is_a_normal_distributions_without_deviation_and_constants():
    velocity = normal(3, 2, 4, 4).requires_grad_()
    step = cps_transition(velocity, normal(3, 2, 4, 4, seed=1), **STEP)
    point = normal(3, 2, 4, 4, seed=2)
    found, known = log_probability(point, step), Normal(step.mean, step.std)
    scaled = 2 * step.std**2 * (known.log_prob(point) - known.log_prob(step.mean.detach())).flatten(1).mean(1)
    torch.testing.assert_close(found, scaled)
    (gradient,) = torch.autograd.grad(found.sum(), velocity)
    moved = (1 - 0.45) * -0.6 + 0.45 * cos(0.7 * pi / 2) * (1 - 0.6)  # how far the mean goes with the velocity
    torch.testing.assert_close(gradient, 2 * moved * (point - step.mean).detach() / (2 * 4 * 4))


def test_the_divergence_of_two_transitions_is_that_of_normal_distributions():
    one, other = normal(3, 8), normal(3, 8, seed=1)
    expected = torch.distributions.kl_divergence(Normal(one, 0.3), Normal(other, 0.3)).mean(1)
    torch.testing.assert_close(kl_of_means(one, other, 0.3), expected)


@every_sampler
def test_the_loss_has_the_gradient_of_a_clipped_policy_gradient(transition):
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
