import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st

from dgpo_core.diffusion import (
    network_scale,
    sigmas_of_timesteps,
    timestep_at,
    velocity_from_epsilon,
    velocity_from_v,
)
from dgpo_core.flow import noisy

SCHEDULE = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
SIGMAS = sigmas_of_timesteps(SCHEDULE.alphas_cumprod)


def pair():
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(3, 4, 2, 2, generator=generator, dtype=torch.float64) for _ in range(2))


def test_a_timestep_of_stable_diffusion_is_a_noise_level():
    assert len(SIGMAS) == 1000
    assert (SIGMAS.diff() > 0).all()
    assert abs(float(SIGMAS[-1]) - 0.936) < 1e-3
    assert abs(float(SIGMAS[0]) - 0.0284) < 1e-3


@given(st.integers(0, 999))
def test_every_trained_timestep_comes_back(timestep):
    assert abs(float(timestep_at(SIGMAS[[timestep]].float(), SIGMAS)) - timestep) < 0.02


def test_between_timesteps_it_is_the_timestep_of_diffusers():
    scheduler = EulerDiscreteScheduler.from_config(SCHEDULE.config, timestep_spacing="trailing")
    sigma = torch.tensor([0.9, 0.71, 0.5, 0.123])
    scheduler.set_timesteps(sigmas=[*(sigma / (1 - sigma)).tolist(), 0.0])
    torch.testing.assert_close(timestep_at(sigma, SIGMAS), scheduler.timesteps.float(), atol=0.05, rtol=0)


def test_beyond_the_schedule_it_is_its_end():
    assert timestep_at(torch.tensor([0.0, 1.0]), SIGMAS).tolist() == [0, 999]


def test_a_schedule_that_ends_in_pure_noise_stays_a_number():
    schedule = DDPMScheduler(beta_schedule="scaled_linear", rescale_betas_zero_snr=True)
    sigmas = sigmas_of_timesteps(schedule.alphas_cumprod)
    assert float(sigmas[-1]) == 4096 / 4097
    assert timestep_at(sigmas[-2:].float(), sigmas).isfinite().all()


@given(st.integers(0, 999))
def test_scaled_points_of_the_straight_path_are_those_of_the_scheduler(timestep):
    clean, noise = pair()
    straight = noisy(clean, noise, float(SIGMAS[timestep]))
    scaled = network_scale(float(SIGMAS[timestep]), straight) * straight
    theirs = SCHEDULE.add_noise(clean, noise, torch.full((3,), timestep))
    torch.testing.assert_close(scaled, theirs, atol=1e-5, rtol=0)


@given(st.floats(0.01, 0.99))
def test_the_velocity_of_the_right_noise_is_noise_less_clean(sigma):
    clean, noise = pair()
    velocity = velocity_from_epsilon(noisy(clean, noise, sigma), noise, sigma)
    torch.testing.assert_close(velocity, noise - clean)


@given(st.integers(0, 999))
def test_the_velocity_of_the_right_v_is_noise_less_clean(timestep):
    clean, noise = pair()
    v = SCHEDULE.get_velocity(clean, noise, torch.full((3,), timestep))
    sigma = float(SIGMAS[timestep])
    torch.testing.assert_close(velocity_from_v(noisy(clean, noise, sigma), v, sigma), noise - clean, atol=1e-4, rtol=0)


def test_errors_of_predictions_weigh_as_the_page_says():
    clean, noise = pair()
    for sigma, factor in ((0.5, 4), (0.8, 25)):
        point = noisy(clean, noise, sigma)
        error = velocity_from_epsilon(point, noise + 0.1, sigma) - (noise - clean)
        torch.testing.assert_close(error.square().mean(), torch.tensor(0.01 * factor, dtype=torch.float64))
    error = velocity_from_v(point, noise + 0.1, 0.8) - velocity_from_v(point, noise, 0.8)
    torch.testing.assert_close(error.square().mean(), torch.tensor(0.01 / (0.2**2 + 0.8**2), dtype=torch.float64))
