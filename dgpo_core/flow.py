"""The straight path from a clean picture to noise, and every way along it.

sigma is the noise level: 0 is clean, 1 is pure noise. All results are computed in at least
float32, so that half precision never rounds a noise level, and come back in the dtype given.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

Number = TypeVar("Number", float, Tensor)
Sigma = float | Float[Tensor, ""] | Float[Tensor, " B"]


def noisy(clean: Float[Tensor, "B ..."], noise: Float[Tensor, "B ..."], sigma: Sigma) -> Float[Tensor, "B ..."]:
    """The point at sigma on the path: (1 - sigma) * clean + sigma * noise.   docs/method.md eq. 1."""
    level = beside(sigma, clean)
    return ((1 - level) * clean + level * noise).to(clean.dtype)


def velocity_target(clean: Float[Tensor, "B ..."], noise: Float[Tensor, "B ..."]) -> Float[Tensor, "B ..."]:
    """What the policy should predict, the same at every sigma: noise - clean.   docs/method.md eq. 2."""
    return noise - clean


def clean_from_velocity(
    noisy: Float[Tensor, "B ..."], velocity: Float[Tensor, "B ..."], sigma: Sigma
) -> Float[Tensor, "B ..."]:
    """The clean end of the path that leaves noisy with this velocity."""
    return (noisy - beside(sigma, noisy) * velocity).to(noisy.dtype)


def noise_from_velocity(
    noisy: Float[Tensor, "B ..."], velocity: Float[Tensor, "B ..."], sigma: Sigma
) -> Float[Tensor, "B ..."]:
    """The noise end of the path that leaves noisy with this velocity."""
    return (noisy + (1 - beside(sigma, noisy)) * velocity).to(noisy.dtype)


def shift_sigma(sigma: Number, shift: float) -> Number:
    """sigma moved towards noise (shift > 1) or clean (shift < 1); 0 and 1 stay.   docs/method.md eq. 3."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def timestep_of(sigma: Number) -> Number:
    """What diffusers networks take for sigma: 0 to 1000. Keep it float32; bfloat16 turns 750 into 752."""
    return 1000 * sigma


def beside(sigma: Sigma, picture: Tensor) -> Tensor:
    """sigma shaped to multiply the pictures of a batch, in at least float32."""
    dtype = torch.promote_types(picture.dtype, torch.float32)
    level = torch.as_tensor(sigma, dtype=dtype, device=picture.device)
    return level.reshape(level.shape + (1,) * (picture.ndim - 1)) if level.ndim else level.expand((1,) * picture.ndim)
