"""Schedules: the grids of noise that samplers walk down, the noise levels that are trained, the learning rate."""

from __future__ import annotations

from math import sqrt

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from dgpo_core.errors import ConfigError
from dgpo_core.flow import shift_sigma


def linear_sigmas(num_steps: int, shift: float = 1.0) -> Float[Tensor, " {num_steps}+1"]:
    """Sampling sigmas from 1 down to 0, even steps before the shift.

    Shifted once. A plain diffusers set_timesteps(num_steps) on FlowMatchEulerDiscreteScheduler
    shifts its lowest sigma twice and walks another grid; pass it sigmas=linspace(1, 1/n, n) to get this one.
    """
    even = torch.linspace(1, 1 / num_steps, num_steps, dtype=torch.float64)
    return _ending_in_zero(shift_sigma(even, shift))


def dpm_solver_sigmas(num_steps: int, shift: float) -> Float[Tensor, " {num_steps}+1"]:
    """Sampling sigmas of the official DGPO code: as linear_sigmas, but begun at 0.999 instead of 1."""
    even = torch.linspace(1, 1 / num_steps, num_steps, dtype=torch.float64)
    return _ending_in_zero(shift_sigma(0.999 * even, shift))


def training_sigmas(
    num_sigmas: int,
    *,
    sigma_min: float,
    source: str,
    grid: Float[Tensor, " levels"],
    generator: Generator,
    sigma_max: float = 1.0,
) -> Float[Tensor, " {num_sigmas}"]:
    """The sigmas one step trains, in random order, none below sigma_min; on the generator's device.

    source "continuous" draws one uniformly from each of num_sigmas equal slices of [sigma_min, sigma_max]
    (grid is not read); "grid" draws from the sigmas of grid in [sigma_min, 1] but 0, none twice.
    sigma_max is the noisiest level that the network knows.

    Raises:
        ConfigError: the grid has fewer than num_sigmas sigmas from sigma_min up, sigma_min is not below sigma_max,
            or source is unknown.
    """
    check_levels(num_sigmas, sigma_min=sigma_min, source=source, grid=grid, sigma_max=sigma_max)
    if source == "continuous":
        return _one_per_slice(num_sigmas, sigma_min, sigma_max, generator)
    allowed = _walked(grid, sigma_min).to(generator.device)
    return allowed[torch.randperm(len(allowed), generator=generator, device=generator.device)[:num_sigmas]]


def check_levels(
    num_sigmas: int, *, sigma_min: float, source: str, grid: Float[Tensor, " levels"], sigma_max: float = 1.0
) -> None:
    """Raises ConfigError where training_sigmas() would."""
    if sigma_min >= sigma_max:
        raise ConfigError(
            f"loss.sigma_min is {sigma_min:g}, but this model knows noise levels below {sigma_max:.4g} only. Lower it."
        )
    if source not in ("continuous", "grid"):
        raise ConfigError(f"loss.sigma_source must be one of continuous, grid, got {source!r}.")
    num_allowed = len(_walked(grid, sigma_min))
    if source == "grid" and num_allowed < num_sigmas:
        raise ConfigError(
            f"loss.num_sigmas is {num_sigmas}, but only {num_allowed} of the {int((grid > 0).sum())} sampling sigmas "
            f"are at least loss.sigma_min = {sigma_min:g}. Lower one of the two, or set loss.sigma_source to "
            "continuous."
        )


def check_path_levels(num_sigmas: int, *, sigma_min: float, grid: Float[Tensor, " levels"]) -> None:
    """Raises ConfigError unless a path over the grid has so many steps from sigma_min up that have noise."""
    num_allowed = int(path_steps(sigma_min, grid).sum())
    if num_allowed < num_sigmas:
        raise ConfigError(
            f"loss.num_sigmas is {num_sigmas}, but only {num_allowed} of the {len(grid) - 1} sampling sigmas are at "
            f"least loss.sigma_min = {sigma_min:g} and have noise with this model. Lower one of the two."
        )


def path_steps(sigma_min: float, grid: Float[Tensor, " levels"]) -> Bool[Tensor, " levels-1"]:
    """Which steps of a stochastic path are trained: from sigma_min up, and not the last, which has no noise."""
    return (grid[:-1] >= sigma_min) & (grid[1:] > 0)


def learning_rate_at(step: int, *, start: float, decay_steps: int) -> float:
    """The learning rate of a step: start / sqrt(1 + step / decay_steps), or start throughout where decay_steps is 0.

    It needs no length of the run, so a run may be stopped or lengthened at any time.
    """
    return start if decay_steps == 0 else start / sqrt(1 + step / decay_steps)


def _ending_in_zero(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas, sigmas.new_zeros(1)]).float()


def _one_per_slice(num_sigmas: int, sigma_min: float, sigma_max: float, generator: Generator) -> Tensor:
    device = generator.device
    within = torch.rand(num_sigmas, generator=generator, dtype=torch.float64, device=device)
    slices = torch.randperm(num_sigmas, generator=generator, device=device)
    return (sigma_min + (sigma_max - sigma_min) * (slices + within) / num_sigmas).float()


def _walked(grid: Tensor, sigma_min: float) -> Tensor:
    """The levels of a grid that may be trained: from sigma_min up, and not 0."""
    return grid[(grid > 0) & (grid >= sigma_min) & (grid <= 1)]
