"""Flow-GRPO: stochastic samplers with known transition probabilities, and a clipped policy gradient on them.

Liu et al., 2025 (arXiv 2505.05470); the sampler that keeps coefficients is of arXiv 2509.05952. Unlike DGPO it needs
every point of the path of a picture, and a sampler that adds noise at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, log, pi, sin, sqrt
from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from dgpo_core.loss import kl_to_reference
from dgpo_core.samplers import OnStep, Velocity, announce


@dataclass(frozen=True, slots=True)
class Transition:
    """Where the next point lies, given this one: normal around mean with a standard deviation per element.

    is_plain: its log density is taken as minus the squared distance to mean, whatever the deviation.
    """

    mean: Float[Tensor, "B ..."]
    std: float
    is_plain: bool = False


class TransitionOf(Protocol):
    """The one signature of the steps of all stochastic samplers, from sigma to lower."""

    def __call__(
        self, velocity: Tensor, x: Tensor, sigma: float, lower: float, *, noise_level: float, highest_sigma: float
    ) -> Transition: ...


def sde_transition(
    velocity: Float[Tensor, "B ..."],
    x: Float[Tensor, "B ..."],
    sigma: float,
    lower: float,
    *,
    noise_level: float,
    highest_sigma: float,
) -> Transition:
    """One step of the stochastic equation that has the same pictures as the ODE.   Flow-GRPO eq. 9.

    Its noise is noise_level * sqrt(sigma / (1 - sigma)); where sigma is 1, highest_sigma stands in for the one below
    the line, as that would be infinite. A step to sigma 0 adds none, unlike the authors', whose pictures keep a grain;
    so does noise_level 0: both are Euler's. The gradient flows through velocity.
    """
    stride = lower - sigma
    if lower == 0:
        return Transition(mean=x + stride * velocity, std=0.0)
    spread = noise_level * sqrt(sigma / (1 - min(sigma, highest_sigma)))
    drift = velocity + spread**2 / (2 * sigma) * (x + (1 - sigma) * velocity)
    return Transition(mean=x + stride * drift, std=spread * sqrt(-stride))


def cps_transition(
    velocity: Float[Tensor, "B ..."],
    x: Float[Tensor, "B ..."],
    sigma: float,
    lower: float,
    *,
    noise_level: float,
    highest_sigma: float,
) -> Transition:
    """One step that keeps the coefficients of picture and noise (CPS).   Wang and Yu, 2025 (arXiv 2509.05952).

    The clean end that velocity points to gets the weight 1 - lower, and noise lower in all, old and new together:
    noise_level says how much is new, from none at 0, which is Euler's step, to all of it at 1. So a picture keeps no
    grain, which the equation's noise leaves. Nothing is infinite at sigma 1, and highest_sigma is not read.
    """
    clean, noise = x - sigma * velocity, x + (1 - sigma) * velocity
    angle = noise_level * pi / 2
    return Transition(mean=(1 - lower) * clean + lower * cos(angle) * noise, std=lower * sin(angle), is_plain=True)


TRANSITIONS: dict[str, TransitionOf] = {"flow_sde": sde_transition, "flow_cps": cps_transition}
"""The step of each stochastic sampler."""


def log_probability(point: Float[Tensor, "B ..."], step: Transition) -> Float[Tensor, " B"]:
    """Log density of the point that was drawn, mean over elements as the authors have it; gradient through mean.

    Of a plain transition without its constants and its division by the deviation, as the authors of CPS have it.
    """
    if step.is_plain:
        return -(point.detach() - step.mean).square().flatten(1).mean(1)
    squared = ((point.detach() - step.mean) / step.std).square().flatten(1).mean(1)
    return -squared / 2 - log(step.std) - log(2 * pi) / 2


@dataclass(frozen=True, slots=True)
class Path:
    """All points of the paths of a batch, from noise to picture, at the sigmas they stand at (one more than steps).

    log_probabilities has, for every step, the log density of the point it came to; 0 for a step without noise.
    """

    points: tuple[Float[Tensor, "B ..."], ...]
    log_probabilities: tuple[Float[Tensor, " B"], ...]
    sigmas: Float[Tensor, " levels"]

    @property
    def clean(self) -> Float[Tensor, "B ..."]:
        """The pictures at the end."""
        return self.points[-1]

    def select(self, rows: Bool[Tensor, " B"]) -> Path:
        """The paths of some pictures."""
        return Path(
            tuple(point[rows] for point in self.points),
            tuple(one[rows] for one in self.log_probabilities),
            self.sigmas,
        )

    @classmethod
    def joined(cls, paths: Sequence[Path]) -> Path:
        """The paths of several batches drawn at the same sigmas, in one."""
        return cls(
            tuple(torch.cat(points) for points in zip(*(path.points for path in paths), strict=True)),
            tuple(torch.cat(ones) for ones in zip(*(path.log_probabilities for path in paths), strict=True)),
            paths[0].sigmas,
        )


def sample_path(
    velocity: Velocity,
    x: Float[Tensor, "B ..."],
    sigmas: Float[Tensor, " levels"],
    *,
    transition: TransitionOf,
    noise_level: float,
    generators: Sequence[Generator],
    on_step: OnStep | None = None,
) -> Path:
    """Draws a path for every row of x, each with its own generator, so that a picture does not depend on its batch."""
    points, log_probabilities, levels = [x], [], sigmas.tolist()
    for index in range(len(levels) - 1):
        announce(on_step, index, sigmas)
        step = transition(
            velocity(x, sigmas[index]),
            x,
            levels[index],
            levels[index + 1],
            noise_level=noise_level,
            highest_sigma=levels[1],
        )
        noise = torch.stack([torch.randn(x.shape[1:], generator=one) for one in generators]).to(x)
        x = step.mean + step.std * noise
        points.append(x)
        log_probabilities.append(log_probability(x, step) if step.std > 0 else x.new_zeros(len(x)))
    return Path(tuple(points), tuple(log_probabilities), sigmas)


def clipped_surrogate(
    log_probability: Float[Tensor, " B"],
    old_log_probability: Float[Tensor, " B"],
    advantage: Float[Tensor, " B"],
    *,
    clip_range: float,
) -> tuple[Float[Tensor, " B"], Bool[Tensor, " B"]]:
    """PPO's loss of each sample, to be minimised, and which samples are clipped.   Flow-GRPO eq. 5, without its KL."""
    ratio = (log_probability - old_log_probability.detach()).exp()
    plain = -advantage * ratio
    limited = -advantage * ratio.clamp(1 - clip_range, 1 + clip_range)
    return torch.maximum(plain, limited), limited > plain


def kl_of_means(
    mean: Float[Tensor, "B ..."], reference_mean: Float[Tensor, "B ..."], std: float
) -> Float[Tensor, " B"]:
    """KL divergence of two transitions of the same spread, mean over elements; the reference is data."""
    return kl_to_reference(mean, reference_mean) / (2 * std**2)
