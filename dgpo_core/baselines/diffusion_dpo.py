"""Diffusion-DPO, online: the best picture of a group against its worst.

Wallace et al., 2023 (arXiv 2311.12908), with groups drawn anew at every step.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid


def best_and_worst(deviation: Float[Tensor, " B"], group_size: int) -> tuple[Int[Tensor, " K"], Int[Tensor, " K"]]:
    """Rows of the best and of the worst picture of each group, for groups that follow one another in rows.

    Of deviations from the group's mean, not of advantages: a clip would make two outliers alike.
    """
    by_group = deviation.view(-1, group_size)
    first = group_size * by_group.new_ones(len(by_group)).cumsum(0).long() - group_size
    return first + by_group.argmax(1), first + by_group.argmin(1)


def dpo_loss(
    best_error: Float[Tensor, " K"],
    worst_error: Float[Tensor, " K"],
    best_reference_error: Float[Tensor, " K"],
    worst_reference_error: Float[Tensor, " K"],
    *,
    preference_beta: float,
) -> Float[Tensor, " K"]:
    """Loss of each pair, to be minimised.   Diffusion-DPO eq. 14, with the weight of a noise level left out.

    Errors are mean squared errors of the velocity; those of the reference are data.
    """
    gained = (worst_error - worst_reference_error.detach()) - (best_error - best_reference_error.detach())
    return -logsigmoid(preference_beta * gained)
