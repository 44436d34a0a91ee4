"""The DGPO loss: tensors in, tensors out. The caller reduces, steps and reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

SumOverRanks = Callable[[Tensor], Tensor]


def _one_rank(total: Tensor) -> Tensor:
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class DgpoTerms:
    """The loss in parts. per_sample carries the gradient; its mean over all samples of the update is the loss.

    preference is s of docs/method.md eq. 6, below zero once the policy prefers as the rewards do;
    gate is sigmoid(s): 0.5 at the reference, 0 when the group is learned, 1 when it is unlearned.
    """

    per_sample: Float[Tensor, " B"]
    gate: Float[Tensor, " K"]
    preference: Float[Tensor, " K"]
    is_clipped: Bool[Tensor, " B"]


def velocity_error(velocity: Float[Tensor, "B ..."], target: Float[Tensor, "B ..."]) -> Float[Tensor, " B"]:
    """Mean squared error of each sample's velocity, in at least float32.   docs/method.md eq. 5.

    The gradient flows into both arguments.
    """
    dtype = torch.promote_types(velocity.dtype, torch.float32)
    return (velocity.to(dtype) - target.to(dtype)).square().flatten(1).mean(1)


def kl_to_reference(
    velocity: Float[Tensor, "B ..."], reference_velocity: Float[Tensor, "B ..."]
) -> Float[Tensor, " B"]:
    """How far each sample's velocity is from the reference's, mean square; the reference is data.

    KL divergence of the two paths up to a weight that depends on sigma only, which is left out.
    docs/method.md eq. 9.
    """
    return velocity_error(velocity, reference_velocity.detach())


def is_clipped(
    error: Float[Tensor, " B"], old_error: Float[Tensor, " B"], advantage: Float[Tensor, " B"], clip_range: float
) -> Bool[Tensor, " B"]:
    """Which samples have moved from the old policy, the way their advantage asks, by more than clip_range.

    The ratio is exp(old_error - error), the clip one-sided as in PPO; clip_range 0 clips none.
    docs/method.md eq. 8.
    """
    if clip_range == 0:
        return torch.zeros_like(advantage, dtype=torch.bool)
    ratio = (old_error - error).detach().exp()
    return torch.where(advantage > 0, ratio > 1 + clip_range, ratio < 1 - clip_range)


def is_pushed_enough(
    error: Float[Tensor, " B"], frozen_error: Float[Tensor, " B"], advantage: Float[Tensor, " B"], dual_clip: float
) -> Bool[Tensor, " B"]:
    """Which dispreferred samples have an error above the frozen reference's by more than dual_clip; 0 finds none.

    The loss of a sample with a negative advantage has no lower bound: clipping against the old policy limits a
    step, and the next begins anew. Such samples are left where they are, as in dual-clip PPO (arXiv 1912.09729).
    docs/method.md eq. 8.
    """
    if dual_clip == 0:
        return torch.zeros_like(advantage, dtype=torch.bool)
    return (advantage < 0) & (error.detach() - frozen_error > dual_clip)


def group_preference(
    advantage: Float[Tensor, " B"],
    error: Float[Tensor, " B"],
    reference_error: Float[Tensor, " B"],
    group: Int[Tensor, " B"],
    *,
    num_groups: int,
    group_size: int,
    preference_beta: float,
    sum_over_ranks: SumOverRanks = _one_rank,
) -> Float[Tensor, " K"]:
    """s of each group: preference_beta / G times the sum of A * (error - reference_error), detached.

    A sum, so the parts of a group that is spread over micro-batches or ranks add up; sum_over_ranks does it
    for ranks. group_size is G of the whole group. docs/method.md eq. 6.
    """
    is_member = group == torch.arange(num_groups, device=group.device)[:, None]
    moved = advantage * (error - reference_error)
    return sum_over_ranks(preference_beta / group_size * (is_member * moved.detach()).sum(1))


def gated_error(
    error: Float[Tensor, " B"],
    advantage: Float[Tensor, " B"],
    gate: Float[Tensor, " K"],
    group: Int[Tensor, " B"],
    is_clipped: Bool[Tensor, " B"],
) -> Float[Tensor, " B"]:
    """gate * A * error of each sample; clipped samples keep their value and give no gradient.

    The gate is data, so it may come from an earlier pass over the whole group: that makes micro-batches of
    any size exact. docs/method.md eq. 7.
    """
    return gate.detach()[group] * advantage * torch.where(is_clipped, error.detach(), error)


def dgpo_loss(  # noqa: PLR0913 - the loss has this many inputs; bundling them would only hide it
    error: Float[Tensor, " B"],
    reference_error: Float[Tensor, " B"],
    advantage: Float[Tensor, " B"],
    group: Int[Tensor, " B"],
    *,
    num_groups: int,
    group_size: int,
    preference_beta: float,
    old_error: Float[Tensor, " B"] | None = None,
    clip_range: float = 0.0,
    frozen_error: Float[Tensor, " B"] | None = None,
    dual_clip: float = 0.0,
    sum_over_ranks: SumOverRanks = _one_rank,
) -> DgpoTerms:
    """The surrogate whose gradient is that of -log sigmoid(-s), divided by preference_beta.

    Exactly: preference_beta * grad(mean of per_sample over all B = K*G samples) = grad(mean over the K groups
    of -log sigmoid(-s)). error carries gradient; everything else is treated as data.
    group numbers the prompts 0..num_groups-1. A group may be split over ranks: its preference is summed with
    sum_over_ranks before the sigmoid, and group_size is G of the whole group.
    The lab's own update goes through the parts of this sum piece by piece (updates/dgpo.py); this is the whole of it
    in one call, for those who train elsewhere, and what the update is tested against.
    Differs from the paper: velocity error instead of x0 error, no factor beta, and clipping: PPO-like with old_error
    and clip_range, dual with dual_clip against frozen_error (without one: reference_error). docs/method.md eq. 7, 8.
    """
    preference = group_preference(
        advantage,
        error,
        reference_error,
        group,
        num_groups=num_groups,
        group_size=group_size,
        preference_beta=preference_beta,
        sum_over_ranks=sum_over_ranks,
    )
    gate = preference.sigmoid()
    clipped = is_clipped(error, error if old_error is None else old_error, advantage, clip_range)
    clipped |= is_pushed_enough(error, reference_error if frozen_error is None else frozen_error, advantage, dual_clip)
    return DgpoTerms(
        per_sample=gated_error(error, advantage, gate, group, clipped),
        gate=gate,
        preference=preference,
        is_clipped=clipped,
    )
