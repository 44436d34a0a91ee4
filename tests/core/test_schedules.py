import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st

from dgpo_core.errors import ConfigError
from dgpo_core.flow import timestep_of
from dgpo_core.schedules import dpm_solver_sigmas, learning_rate_at, linear_sigmas, training_sigmas

# Timesteps of ten steps at shift 3, worked out by hand from the formulas of the three schedulers.
OURS = [1000, 964.2857, 923.0769, 875, 818.1818, 750, 666.6667, 562.5, 428.5714, 250, 0]
OFFICIAL = [999, 963, 922, 874, 817, 749, 666, 562, 428, 249, 0]
PLAIN_DIFFUSERS = [1000, 960.1, 913.3, 857.7, 790.4, 707.3, 602.2, 464.9, 278.0, 8.9]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_linear_sigmas_of_ten_steps_at_shift_three():
    torch.testing.assert_close(timestep_of(linear_sigmas(10, 3.0)), torch.tensor(OURS), rtol=0, atol=1e-3)


def test_dpm_solver_sigmas_of_ten_steps_at_shift_three_are_the_official_timesteps():
    assert timestep_of(dpm_solver_sigmas(10, 3.0)).int().tolist() == OFFICIAL


def test_unshifted_linear_sigmas_are_even():
    assert linear_sigmas(4).tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]


@pytest.mark.parametrize("num_steps", [1, 8, 28])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_diffusers_walks_our_grids_when_asked_to(num_steps, shift):
    euler = FlowMatchEulerDiscreteScheduler(shift=shift)
    euler.set_timesteps(sigmas=np.linspace(1, 1 / num_steps, num_steps).tolist())
    torch.testing.assert_close(linear_sigmas(num_steps, shift), euler.sigmas)
    dpm = DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift)
    dpm.set_timesteps(num_steps)
    torch.testing.assert_close(dpm_solver_sigmas(num_steps, shift), dpm.sigmas)


def test_plain_diffusers_walks_another_grid():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(10)
    torch.testing.assert_close(scheduler.timesteps, torch.tensor(PLAIN_DIFFUSERS), rtol=0, atol=0.1)
    assert (timestep_of(linear_sigmas(10, 3.0))[1:10] - scheduler.timesteps[1:]).min() > 4


@given(num_sigmas=st.integers(1, 64), sigma_min=st.floats(0, 0.99), seed=st.integers(0, 2**32 - 1))
def test_continuous_sigmas_fall_one_into_each_slice(num_sigmas, sigma_min, seed):
    sigmas = training_sigmas(
        num_sigmas, sigma_min=sigma_min, source="continuous", grid=linear_sigmas(1), generator=generator(seed)
    )
    assert sigmas.dtype == torch.float32
    assert sigmas.min() >= sigma_min
    assert sigmas.max() <= 1
    edges = torch.linspace(sigma_min, 1, num_sigmas + 1)
    inside = sigmas.sort().values
    assert (inside >= edges[:-1] - 1e-6).all()
    assert (inside <= edges[1:] + 1e-6).all()


def test_continuous_sigmas_are_uniform_and_in_random_order():
    draws = torch.stack(
        [
            training_sigmas(4, sigma_min=0.6, source="continuous", grid=linear_sigmas(1), generator=generator(seed))
            for seed in range(2000)
        ]
    )
    assert draws.mean(0).tolist() == pytest.approx([0.8] * 4, abs=0.01)
    share, _ = draws.flatten().histogram(bins=20, range=(0.6, 1.0))
    assert (share / 400).tolist() == pytest.approx([1.0] * 20, abs=0.2)


def test_grid_sigmas_are_drawn_without_replacement_from_sigma_min_up():
    grid = linear_sigmas(10)
    seen = set()
    for seed in range(200):
        sigmas = training_sigmas(4, sigma_min=0.6, source="grid", grid=grid, generator=generator(seed)).tolist()
        assert len(set(sigmas)) == 4
        seen.update(sigmas)
    assert seen == set(grid[:5].tolist())


def test_as_many_sigmas_as_the_grid_allows_are_all_of_them():
    sigmas = training_sigmas(5, sigma_min=0.6, source="grid", grid=linear_sigmas(10), generator=generator())
    assert sorted(sigmas.tolist(), reverse=True) == linear_sigmas(10)[:5].tolist()


@pytest.mark.parametrize(("sigma_min", "found"), [(0.6, 5), (0.95, 1)])
def test_a_grid_with_too_few_sigmas_is_refused_with_the_numbers(sigma_min, found):
    with pytest.raises(
        ConfigError, match=rf"num_sigmas is 6, but only {found} of the 10 .*sigma_min = {sigma_min}\. Lower"
    ):
        training_sigmas(6, sigma_min=sigma_min, source="grid", grid=linear_sigmas(10), generator=generator())


def test_the_clean_end_of_the_grid_is_never_trained():
    sigmas = training_sigmas(4, sigma_min=0.0, source="grid", grid=linear_sigmas(4), generator=generator())
    assert sorted(sigmas.tolist()) == [0.25, 0.5, 0.75, 1.0]


def test_an_unknown_source_is_refused():
    with pytest.raises(ConfigError, match="one of continuous, grid, got 'cubic'"):
        training_sigmas(1, sigma_min=0.6, source="cubic", grid=linear_sigmas(10), generator=generator())


@pytest.mark.parametrize("source", ["continuous", "grid"])
def test_the_generator_alone_decides(source):
    draws = [
        training_sigmas(3, sigma_min=0.2, source=source, grid=linear_sigmas(10), generator=generator(seed))
        for seed in (5, 5, 6)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_training_stays_below_what_the_network_knows():
    generator = torch.Generator().manual_seed(0)
    grid = linear_sigmas(8) * 0.9
    for source in ("continuous", "grid"):
        sigmas = training_sigmas(4, sigma_min=0.3, sigma_max=0.9, source=source, grid=grid, generator=generator).sort()
        assert sigmas.values[0] >= 0.3
        assert sigmas.values[-1] <= 0.9 + 1e-6
    with pytest.raises(ConfigError, match=r"loss.sigma_min is 0.95, but this model knows noise levels below 0.9 only"):
        training_sigmas(4, sigma_min=0.95, sigma_max=0.9, source="grid", grid=grid, generator=generator)


@pytest.mark.parametrize(("step", "rate"), [(0, 1e-3), (50, 1e-3 / 2**0.5), (150, 5e-4), (4950, 1e-4)])
def test_the_learning_rate_falls_with_the_root_of_time(step, rate):
    assert learning_rate_at(step, start=1e-3, decay_steps=50) == pytest.approx(rate)


@pytest.mark.parametrize("step", [0, 1, 10_000])
def test_without_decay_the_learning_rate_stays(step):
    assert learning_rate_at(step, start=1e-3, decay_steps=0) == 1e-3
