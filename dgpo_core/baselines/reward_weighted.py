"""Reward-weighted fine-tuning: learn from one's own pictures, from the good ones most.

Peters and Schaal, 2007, and for diffusion models Lee et al., 2023 (arXiv 2302.12192).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def weights(advantage: Float[Tensor, " B"], group_size: int, *, temperature: float) -> Float[Tensor, " B"]:
    """Weight of each picture, mean 1 over its group; groups follow one another. A low temperature picks the best."""
    by_group = (advantage / temperature).view(-1, group_size)
    return group_size * by_group.softmax(1).flatten()


def weighted_loss(error: Float[Tensor, " B"], weight: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Loss of each sample, to be minimised: its flow-matching error times its weight, which is data."""
    return weight.detach() * error
