"""DiffusionNFT: learn from good and bad pictures at once, by what the policy would be on either side of the old one.

Zheng et al., 2025 (arXiv 2509.16117). Like DGPO it trains on noised clean pictures and needs no stochastic sampler.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from dgpo_core.loss import velocity_error


def optimality(advantage: Float[Tensor, " B"], *, clip: float) -> Float[Tensor, " B"]:
    """How good each picture is for its group, from 0 to 1; one half is its mean.   DiffusionNFT, sec. 3.3."""
    return 0.5 + 0.5 * (advantage / clip).clamp(-1, 1)


def nft_loss(
    velocity: Float[Tensor, "B ..."],
    old_velocity: Float[Tensor, "B ..."],
    target: Float[Tensor, "B ..."],
    optimality: Float[Tensor, " B"],
    *,
    strength: float,
) -> Float[Tensor, " B"]:
    """Loss of each sample, to be minimised.   DiffusionNFT eq. 5.

    Good pictures pull the implicit good policy (1 - strength) * old + strength * policy towards them, bad ones the
    implicit bad policy (1 + strength) * old - strength * policy. The gradient flows through velocity alone.
    """
    old = old_velocity.detach()
    good = velocity_error((1 - strength) * old + strength * velocity, target)
    bad = velocity_error((1 + strength) * old - strength * velocity, target)
    return optimality * good + (1 - optimality) * bad
