"""Samplers against diffusers' schedulers, and against data whose answer is known in closed form."""

from math import log2

import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from dgpo_core.errors import LabError
from dgpo_core.samplers import SAMPLERS, evaluations_per_picture
from dgpo_core.schedules import dpm_solver_sigmas, linear_sigmas

MEAN, STD = 0.7, 0.4


def gaussian_velocity(x: Tensor, sigma: Tensor) -> Tensor:
    """The expected noise - clean at x, where clean pictures are normal with MEAN and STD."""
    from_centre = x - (1 - sigma) * MEAN
    variance = (1 - sigma) ** 2 * STD**2 + sigma**2
    return (sigma - (1 - sigma) * STD**2) / variance * from_centre - MEAN


def gaussian_path(z: Tensor, sigma: Tensor) -> Tensor:
    """Where the path stands at sigma that stands at z when sigma is 1."""
    return (1 - sigma) * MEAN + ((1 - sigma) ** 2 * STD**2 + sigma**2).sqrt() * z


def wavy_velocity(x: Tensor, sigma: Tensor) -> Tensor:
    """Something without structure that a sampler could profit from."""
    return torch.sin(3 * x) + sigma * x.flip(-1)


def start(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(3), dtype=dtype)


def walk(scheduler, x: Tensor) -> Tensor:
    for timestep in scheduler.timesteps:
        x = scheduler.step(wavy_velocity(x, timestep / 1000), timestep, x).prev_sample
    return x


@pytest.mark.parametrize("num_steps", [1, 2, 10, 25])
def test_euler_equals_diffusers_on_the_same_grid(num_steps):
    sigmas = linear_sigmas(num_steps, 3.0)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0)
    scheduler.set_timesteps(sigmas=sigmas[:-1].tolist())
    torch.testing.assert_close(
        SAMPLERS["euler"](wavy_velocity, start(), sigmas), walk(scheduler, start()), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("num_steps", [1, 2, 10, 25])
def test_heun_equals_diffusers_on_its_grid(num_steps):
    scheduler = FlowMatchHeunDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(
        num_steps
    )  # it takes no grid from outside, and lists all but the first and last sigma twice
    sigmas = torch.cat([scheduler.sigmas[:1], scheduler.sigmas[1:-1:2], scheduler.sigmas[-1:]])
    assert (len(sigmas), sigmas[-1]) == (num_steps + 1, 0)
    torch.testing.assert_close(
        SAMPLERS["heun"](wavy_velocity, start(), sigmas), walk(scheduler, start()), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("num_steps", [1, 2, 3, 10, 25])
@pytest.mark.parametrize("name", ["dpmpp_2m", "unipc"])
def test_multistep_samplers_equal_diffusers_on_the_same_grid(name, num_steps):
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
    if name == "dpmpp_2m":
        scheduler = DPMSolverMultistepScheduler(**flow, flow_shift=3.0)
        scheduler.set_timesteps(num_steps)
    else:
        scheduler = UniPCMultistepScheduler(**flow, flow_shift=1.0)
        scheduler.set_timesteps(sigmas=dpm_solver_sigmas(num_steps, 3.0)[:-1].numpy())

    def velocity(x: Tensor, sigma: Tensor) -> Tensor:
        # That scheduler hands its network whole timesteps; see the table of test_schedules.
        return wavy_velocity(x, (sigma * 1000).int() / 1000)

    ours = SAMPLERS[name](velocity, start(), dpm_solver_sigmas(num_steps, 3.0))
    torch.testing.assert_close(ours, walk(scheduler, start()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2), ("dpmpp_2m", 2), ("unipc", 3)])
def test_the_error_falls_with_the_order_of_the_sampler(name, order):
    z = start(torch.float64)

    def error(num_steps: int) -> float:
        sigmas = torch.linspace(0.95, 0.05, num_steps + 1, dtype=torch.float64)
        reached = SAMPLERS[name](gaussian_velocity, gaussian_path(z, sigmas[0]), sigmas)
        return (reached - gaussian_path(z, sigmas[-1])).abs().max().item()

    assert log2(error(160) / error(320)) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("name", SAMPLERS)
def test_pictures_of_gaussian_data_are_reached_from_pure_noise(name):
    z = start(torch.float64)
    sigmas = linear_sigmas(400).double()
    torch.testing.assert_close(SAMPLERS[name](gaussian_velocity, z, sigmas), MEAN + STD * z, rtol=0, atol=2e-2)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("num_steps", [1, 2, 7])
def test_straight_paths_are_followed_exactly(name, num_steps):
    picture = torch.full((5, 2, 4, 4), 0.3, dtype=torch.float64)
    sigmas = linear_sigmas(num_steps, 3.0).double()
    reached = SAMPLERS[name](lambda x, sigma: (x - picture) / sigma, start(torch.float64), sigmas)
    torch.testing.assert_close(reached, picture, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("num_steps", [1, 2, 8])
def test_evaluations_are_counted_right_and_never_at_sigma_zero(name, num_steps):
    asked = []

    def velocity(x: Tensor, sigma: Tensor) -> Tensor:
        assert sigma.ndim == 0
        asked.append(sigma.item())
        return wavy_velocity(x, sigma)

    SAMPLERS[name](velocity, start(), linear_sigmas(num_steps))
    assert len(asked) == evaluations_per_picture(name, num_steps)
    assert min(asked) > 0


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_step_is_announced_and_the_listener_may_stop_it(name):
    announced = []

    def on_step(index: int, num_steps: int) -> None:
        announced.append((index, num_steps))
        if index == 2:
            raise LabError("stopped")

    evaluations = []

    def velocity(x: Tensor, sigma: Tensor) -> Tensor:
        evaluations.append(sigma)
        return x

    with pytest.raises(LabError, match="stopped"):
        SAMPLERS[name](velocity, start(), linear_sigmas(4), on_step=on_step)
    assert announced == [(0, 4), (1, 4), (2, 4)]
    assert len(evaluations) == (4 if name == "heun" else 2)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_starting_noise_is_left_as_it_was(name):
    x = start()
    SAMPLERS[name](wavy_velocity, x, linear_sigmas(3))
    assert torch.equal(x, start())
