"""ODE samplers: from noise to a picture along the velocity. All have one signature.

    sample_<name>(velocity, x, sigmas, *, on_step=None) -> x at the last sigma

velocity(x, sigma) gets sigma as a 0-dim tensor in the dtype and on the device of sigmas; keep
sigmas on the CPU, where a step costs no synchronisation. x keeps its dtype: give it float32.
on_step(index, num_steps) is called before every step and may raise to stop.
"""

from __future__ import annotations

from collections.abc import Callable
from math import expm1, inf, log
from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from dgpo_core.flow import clean_from_velocity

Velocity = Callable[[Tensor, Tensor], Tensor]
OnStep = Callable[[int, int], None]


class Sampler(Protocol):
    """The one signature of all samplers."""

    def __call__(self, velocity: Velocity, x: Tensor, sigmas: Tensor, *, on_step: OnStep | None = None) -> Tensor: ...


def sample_euler(
    velocity: Velocity,
    x: Float[Tensor, "B ..."],
    sigmas: Float[Tensor, " levels"],
    *,
    on_step: OnStep | None = None,
) -> Float[Tensor, "B ..."]:
    """Euler: one evaluation per step, first order; exact where paths are straight."""
    for index in range(len(sigmas) - 1):
        announce(on_step, index, sigmas)
        x = x + (sigmas[index + 1] - sigmas[index]) * velocity(x, sigmas[index])
    return x


def sample_heun(
    velocity: Velocity,
    x: Float[Tensor, "B ..."],
    sigmas: Float[Tensor, " levels"],
    *,
    on_step: OnStep | None = None,
) -> Float[Tensor, "B ..."]:
    """Heun: two evaluations per step, second order. A step to sigma 0 is Euler's: no network knows sigma 0."""
    for index in range(len(sigmas) - 1):
        announce(on_step, index, sigmas)
        stride = sigmas[index + 1] - sigmas[index]
        here = velocity(x, sigmas[index])
        ahead = x + stride * here
        if sigmas[index + 1] > 0:
            ahead = x + stride * (here + velocity(ahead, sigmas[index + 1])) / 2
        x = ahead
    return x


def sample_dpmpp_2m(
    velocity: Velocity,
    x: Float[Tensor, "B ..."],
    sigmas: Float[Tensor, " levels"],
    *,
    on_step: OnStep | None = None,
) -> Float[Tensor, "B ..."]:
    """DPM-Solver++(2M) for flows: one evaluation per step, second order in log((1 - sigma) / sigma).

    The first step, and a step to sigma 0, are first order. Lu et al. 2022 (arXiv 2211.01095), algorithm 2,
    with alpha = 1 - sigma.
    """
    levels = sigmas.tolist()
    cleans: list[Tensor] = []
    for index in range(len(levels) - 1):
        announce(on_step, index, sigmas)
        cleans = [*cleans[-1:], clean_from_velocity(x, velocity(x, sigmas[index]), sigmas[index])]
        x = _step_towards(levels[index], levels[index + 1], x, _extrapolated(levels[: index + 2], cleans))
    return x


def sample_unipc(
    velocity: Velocity,
    x: Float[Tensor, "B ..."],
    sigmas: Float[Tensor, " levels"],
    *,
    on_step: OnStep | None = None,
) -> Float[Tensor, "B ..."]:
    """UniPC-2 for flows: DPM-Solver++(2M), each point corrected by what the network says there; third order so.

    One evaluation per step. Corrected from the second point on, never at sigma 0, where nothing is asked.
    Zhao et al. 2023 (arXiv 2302.04867), UniPC-2 with B(h) = exp(h) - 1 and prediction of the clean end.
    """
    levels = sigmas.tolist()
    cleans: list[Tensor] = []
    corrected = x
    for index in range(len(levels) - 1):
        announce(on_step, index, sigmas)
        clean = clean_from_velocity(x, velocity(x, sigmas[index]), sigmas[index])
        if index > 0:
            corrected = _corrected(levels[: index + 1], corrected, cleans, clean)
        cleans = [*cleans[-1:], clean]
        x = _step_towards(levels[index], levels[index + 1], corrected, _extrapolated(levels[: index + 2], cleans))
    return x


SAMPLERS: dict[str, Sampler] = {
    "euler": sample_euler,
    "heun": sample_heun,
    "dpmpp_2m": sample_dpmpp_2m,
    "unipc": sample_unipc,
}


def evaluations_per_picture(name: str, num_steps: int) -> int:
    """How often a sampler asks for the velocity on a grid of num_steps steps that ends in sigma 0."""
    return 2 * num_steps - 1 if name == "heun" else num_steps


def announce(on_step: OnStep | None, index: int, sigmas: Tensor) -> None:
    """Tells that the step from sigmas[index] begins, where anyone listens."""
    if on_step is not None:
        on_step(index, len(sigmas) - 1)


def _extrapolated(levels: list[float], cleans: list[Tensor]) -> Tensor:
    """The clean end that a step over the last two levels heads for, given those at the levels before."""
    if len(cleans) == 1 or levels[-1] == 0:
        return cleans[-1]
    behind, ahead = _last_two_gains(levels)
    return cleans[-1] + ahead / (2 * behind) * (cleans[-1] - cleans[-2])


def _corrected(levels: list[float], before: Tensor, cleans: list[Tensor], clean: Tensor) -> Tensor:
    """The point at the last level again, from the one before it, now that its own clean end is known."""
    change = clean - cleans[-1]
    if len(cleans) == 1:
        return _step_towards(levels[-2], levels[-1], before, cleans[-1] + change / 2)
    behind, ahead = _last_two_gains(levels)
    shrinkage = expm1(-ahead)
    remainder = shrinkage / -ahead - 1
    first = remainder / shrinkage
    second = 2 * (remainder / -ahead - 1 / 2) / shrinkage
    weight = (first - second) / (1 + behind / ahead)
    slope = ahead / behind * (cleans[-1] - cleans[-2])
    return _step_towards(levels[-2], levels[-1], before, cleans[-1] + weight * slope + (first - weight) * change)


def _step_towards(sigma: float, lower: float, x: Tensor, clean: Tensor) -> Tensor:
    """The point at lower on the way from x at sigma, were the clean end known."""
    kept = lower / sigma
    return kept * x + (1 - lower - (1 - sigma) * kept) * clean


def _last_two_gains(levels: list[float]) -> tuple[float, float]:
    return _log_ratio_gained(*levels[-3:-1]), _log_ratio_gained(*levels[-2:])


def _log_ratio_gained(sigma: float, lower: float) -> float:
    """How far log((1 - sigma) / sigma) rises from sigma to lower, which is above 0; infinite from sigma 1."""
    return inf if sigma >= 1 else log((1 - lower) / lower) - log((1 - sigma) / sigma)
