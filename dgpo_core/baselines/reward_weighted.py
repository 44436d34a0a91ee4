"""Reward-weighted fine-tuning: learn from one's own pictures, from the good ones most.

Peters and Schaal, 2007, and for diffusion models Lee et al., 2023 (arXiv 2302.12192).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def weights(
    advantage: Float[Tensor, " B"], is_judged: Bool[Tensor, " B"], group_size: int, *, temperature: float
) -> Float[Tensor, " B"]:
    """Weight of each picture, mean 1 over those of its group that are judged, 0 for the others.

    Groups follow one another, each with somebody judged. A low temperature picks the best.
    """
    judged = is_judged.view(-1, group_size)
    by_group = (advantage / temperature).view(-1, group_size).masked_fill(~judged, -torch.inf)
    return (judged.sum(1, keepdim=True) * by_group.softmax(1)).flatten()


def weighted_loss(error: Float[Tensor, " B"], weight: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Loss of each sample, to be minimised: its flow-matching error times its weight, which is data."""
    return weight.detach() * error
