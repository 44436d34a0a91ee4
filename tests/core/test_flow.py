import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dgpo_core.flow import (
    clean_from_velocity,
    noise_from_velocity,
    noisy,
    shift_sigma,
    timestep_of,
    velocity_target,
)

levels = st.floats(0, 1)
shifts = st.floats(0.1, 20)


def pictures(seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_the_path_runs_from_the_clean_picture_to_the_noise():
    clean, noise = pictures(0), pictures(1)
    assert torch.equal(noisy(clean, noise, 0.0), clean)
    assert torch.equal(noisy(clean, noise, 1.0), noise)
    torch.testing.assert_close(noisy(clean, noise, 0.25), 0.75 * clean + 0.25 * noise)


def test_the_velocity_is_the_derivative_of_the_path():
    clean, noise = pictures(0), pictures(1)
    slope = (noisy(clean, noise, 0.7) - noisy(clean, noise, 0.2)) / 0.5
    torch.testing.assert_close(velocity_target(clean, noise), slope)


@given(levels)
def test_both_ends_of_the_path_are_found_again_from_any_point_on_it(sigma):
    clean, noise = pictures(0), pictures(1)
    point, velocity = noisy(clean, noise, sigma), velocity_target(clean, noise)
    torch.testing.assert_close(clean_from_velocity(point, velocity, sigma), clean, rtol=0, atol=1e-14)
    torch.testing.assert_close(noise_from_velocity(point, velocity, sigma), noise, rtol=0, atol=1e-14)


@pytest.mark.parametrize("function", [noisy, clean_from_velocity, noise_from_velocity])
def test_a_sigma_per_sample_equals_one_call_per_sample(function):
    left, right = pictures(0), pictures(1)
    sigmas = torch.tensor([0.1, 0.6, 1.0], dtype=torch.float64)
    together = function(left, right, sigmas)
    alone = torch.cat([function(left[i : i + 1], right[i : i + 1], sigmas[i].item()) for i in range(3)])
    assert torch.equal(together, alone)
    assert torch.equal(function(left, right, sigmas[1]), function(left, right, 0.6))


def test_half_precision_pictures_do_not_round_the_noise_level():
    clean, noise = (pictures(seed).bfloat16() for seed in (0, 1))
    sigma = 0.7503
    exact = noisy(clean.double(), noise.double(), sigma)
    point = noisy(clean, noise, torch.tensor(sigma))
    assert point.dtype == torch.bfloat16
    assert torch.equal(point, exact.to(torch.bfloat16))


def test_pictures_and_noise_of_different_batches_are_refused():
    with pytest.raises(TypeError, match="noise"):
        noisy(pictures(0), pictures(1)[:2], 0.5)


@given(levels, shifts)
def test_a_shift_is_undone_by_its_inverse_and_keeps_the_ends(sigma, shift):
    assert shift_sigma(shift_sigma(sigma, shift), 1 / shift) == pytest.approx(sigma, abs=1e-12)
    assert (shift_sigma(0.0, shift), shift_sigma(1.0, shift)) == (0.0, pytest.approx(1.0))


def test_a_shift_of_three_moves_the_middle_to_three_quarters():
    assert shift_sigma(0.5, 3.0) == 0.75
    assert torch.equal(shift_sigma(torch.tensor([0.0, 0.5, 1.0]), 3.0), torch.tensor([0.0, 0.75, 1.0]))


def test_timesteps_are_thousandths_of_sigma_and_back():
    sigma = torch.linspace(0, 1, 9, dtype=torch.float64)
    assert torch.equal(timestep_of(sigma) / 1000, sigma)
    assert timestep_of(0.75) == 750
