"""ODE samplers: from noise to a picture along the velocity. All have one signature.

    sample_<name>(velocity, x, sigmas, *, on_step=None) -> x at the last sigma

velocity(x, sigma) gets sigma as a 0-dim tensor in the dtype and on the device of sigmas; keep
sigmas on the CPU, where a step costs no synchronisation. x keeps its dtype: give it float32.
on_step(index, num_steps) is called before every step and may raise to stop.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, log
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
        _announce(on_step, index, sigmas)
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
        _announce(on_step, index, sigmas)
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
    clean_before = None
    for index in range(len(levels) - 1):
        _announce(on_step, index, sigmas)
        clean = clean_from_velocity(x, velocity(x, sigmas[index]), sigmas[index])
        extrapolated = clean
        if clean_before is not None and levels[index + 1] > 0:
            behind, ahead = (_log_ratio_gained(*levels[i : i + 2]) for i in (index - 1, index))
            extrapolated = clean + ahead / (2 * behind) * (clean - clean_before)
        kept = levels[index + 1] / levels[index]
        x = kept * x + (1 - levels[index + 1] - (1 - levels[index]) * kept) * extrapolated
        clean_before = clean
    return x


SAMPLERS: dict[str, Sampler] = {"euler": sample_euler, "heun": sample_heun, "dpmpp_2m": sample_dpmpp_2m}


def evaluations_per_picture(name: str, num_steps: int) -> int:
    """How often a sampler asks for the velocity on a grid of num_steps steps that ends in sigma 0."""
    return {"euler": num_steps, "heun": 2 * num_steps - 1, "dpmpp_2m": num_steps}[name]


def _announce(on_step: OnStep | None, index: int, sigmas: Tensor) -> None:
    if on_step is not None:
        on_step(index, len(sigmas) - 1)


def _log_ratio_gained(sigma: float, lower: float) -> float:
    """How far log((1 - sigma) / sigma) rises from sigma to lower, which is above 0; infinite from sigma 1."""
    return inf if sigma >= 1 else log((1 - lower) / lower) - log((1 - sigma) / sigma)
