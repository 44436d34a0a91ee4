"""Networks that predict noise, as flows: the same noisy pictures on the straight path, and velocities from predictions.

Such networks were trained on alpha clean + s noise with alpha^2 + s^2 = 1 and a timestep for every pair. Scaled to
alpha + s = 1 those are the points of the straight path, at sigma = s / (alpha + s). docs/method.md derives it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from dgpo_core.flow import Sigma, beside

MOST_NOISE_TO_PICTURE = 4096.0


def sigmas_of_timesteps(alphas_cumprod: Float[Tensor, " T"]) -> Float[Tensor, " T"]:
    """The sigma of every timestep that a network was trained on, rising, in float64.   docs/method.md eq. 13.

    A last timestep without any picture in it gets 4096/4097, as in diffusers, so that its predictions stay numbers.
    """
    picture = alphas_cumprod.double()
    noise_to_picture = ((1 - picture) / picture).sqrt().clamp(max=MOST_NOISE_TO_PICTURE)
    return noise_to_picture / (1 + noise_to_picture)


def timestep_at(sigma: Float[Tensor, " B"], sigmas: Float[Tensor, " T"]) -> Float[Tensor, " B"]:
    """The timestep of a sigma, between two that were trained where need be: even in log(s / alpha), as in diffusers.

    Below the first sigma it is 0, above the last one T - 1. In float32, on the device of sigma.
    """
    known = torch.logit(sigmas.to(sigma.device))
    wanted = torch.logit(sigma.double()).clamp(known[0], known[-1])
    above = torch.searchsorted(known, wanted).clamp(1, len(known) - 1)
    below = above - 1
    return (below + (wanted - known[below]) / (known[above] - known[below])).float()


def network_scale(sigma: Sigma, picture: Float[Tensor, "B ..."]) -> Tensor:
    """What a point of the straight path is multiplied by before such a network sees it.   docs/method.md eq. 14."""
    level = beside(sigma, picture)
    return ((1 - level).square() + level.square()).rsqrt()


def velocity_from_epsilon(
    noisy: Float[Tensor, "B ..."], epsilon: Float[Tensor, "B ..."], sigma: Sigma
) -> Float[Tensor, "B ..."]:
    """The velocity at noisy where the network predicts epsilon; sigma below 1.   docs/method.md eq. 15."""
    return (epsilon - noisy) / (1 - beside(sigma, noisy))


def velocity_from_v(
    noisy: Float[Tensor, "B ..."], prediction: Float[Tensor, "B ..."], sigma: Sigma
) -> Float[Tensor, "B ..."]:
    """The velocity at noisy where the network predicts v = alpha noise - s clean.   docs/method.md eq. 16."""
    scale = network_scale(sigma, noisy)
    return scale * prediction + scale.square() * (2 * beside(sigma, noisy) - 1) * noisy
