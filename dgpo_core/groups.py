"""From rewards to advantages, group by group."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Advantages:
    """What the rewards of a batch say.

    mean and std are of each group's own rewards (population std), NaN for a group without any.
    A group has_preference when at least two of its samples have a reward and not all are equal;
    the advantages of any other group are zero. deviation is each reward minus its group's mean, neither scaled nor
    clipped, 0 without a reward. is_trained says which samples take part in the update; those of them without a reward
    are there to fill their group only.
    """

    advantage: Float[Tensor, " B"]
    deviation: Float[Tensor, " B"]
    mean: Float[Tensor, " K"]
    std: Float[Tensor, " K"]
    has_preference: Bool[Tensor, " K"]
    has_reward: Bool[Tensor, " B"]
    is_trained: Bool[Tensor, " B"]


def group_advantages(
    reward: Float[Tensor, " B"],
    group: Int[Tensor, " B"],
    *,
    num_groups: int,
    has_reward: Bool[Tensor, " B"] | None = None,
    std: str = "group",
    clip: float = 5.0,
    floor: float = 1e-4,
    is_uniform: bool = False,
) -> Advantages:
    """Each reward minus its group's mean, over a standard deviation.   docs/method.md eq. 4.

    group numbers the prompts 0..num_groups-1, in any order. Samples without a reward get advantage 0
    and count in neither mean nor std; what reward holds for them is not read.
    std "group" divides by the spread of the own group. "batch" divides by the spread of all rewards of the
    batch about the batch's mean, as the official code does, and not about their group means.
    The divisor is at least floor, so a group of near ties is not blown up to unit spread.
    Advantages are clipped to plus and minus clip; a group's sum, zero before, may then leave zero slightly.
    is_uniform keeps of them only who is above the mean and who is not: each side of a group shares n / 2 evenly,
    n its samples with a reward, so that sums stay zero.   DGPO paper, its ablation of advantage weights.

    Raises:
        ValueError: a reward is NaN or infinite, a group number is out of range, or std is unknown. All are bugs.
    """
    has_reward = torch.ones_like(group, dtype=torch.bool) if has_reward is None else has_reward
    _check(reward, group, has_reward, num_groups)
    exact = torch.where(has_reward, reward.double(), 0.0)
    is_member = (group == torch.arange(num_groups, device=group.device)[:, None]) & has_reward
    count = is_member.sum(1)
    mean = (is_member * exact).sum(1) / count
    deviation = torch.where(has_reward, exact - mean[group], 0.0)
    spread = ((is_member * deviation.square()).sum(1) / count).sqrt()
    best, worst = (exact.masked_fill(~is_member, end) for end in (-torch.inf, torch.inf))
    has_preference = best.amax(1) > worst.amin(1)
    divisor = _divisor(exact[has_reward], spread[group], std).clamp(min=floor)
    advantage = (deviation / divisor).clamp(-clip, clip)
    if is_uniform:
        advantage = _uniform(deviation, is_member, group)
    return Advantages(
        advantage=torch.where(has_reward & has_preference[group], advantage, 0.0).to(reward.dtype),
        deviation=deviation,
        mean=mean.to(reward.dtype),
        std=spread.to(reward.dtype),
        has_preference=has_preference,
        has_reward=has_reward,
        is_trained=has_preference[group],
    )


def extremes_only(advantages: Advantages, group_size: int, count: int) -> Advantages:
    """Only count samples of each group stay in the update: half from its top, half from its bottom, by their rewards.

    Samples are group-major, ties go by their order. Rewards and not advantages, which a clip or uniform weights make
    alike. The advantages of those that stay are moved to sum zero in their
    group again; all others are zero. What is left out is near the mean, so it would hardly have moved anything.
    Samples without a reward are neither top nor bottom; they fill a group that has fewer than count with one.
    """
    numbers = (advantages.advantage, advantages.deviation, advantages.has_reward)
    by_group, deviation, judged = (one.unflatten(0, (-1, group_size)) for one in numbers)
    place = deviation.masked_fill(~judged, -torch.inf).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    num_judged = judged.sum(1, keepdim=True)
    counts = judged & ((place < count - count // 2) | (place >= num_judged - count // 2))
    centred = by_group - (by_group * counts).sum(1, keepdim=True) / counts.sum(1, keepdim=True).clamp(min=1)
    stays = (counts | ((place >= num_judged) & (place < count))).flatten() & advantages.is_trained
    return replace(
        advantages,
        advantage=torch.where(counts, centred, 0.0).flatten() * advantages.is_trained,
        is_trained=stays,
    )


def _uniform(deviation: Tensor, is_member: Tensor, group: Tensor) -> Tensor:
    """Half of each group's number, shared by those above its mean, and minus that by those at or below."""
    is_above = deviation > 0
    half = is_member.sum(1).to(deviation) / 2
    num_above = (is_member & is_above).sum(1)
    num_below = is_member.sum(1) - num_above
    return torch.where(is_above, (half / num_above)[group], (-half / num_below)[group])


def _divisor(rewards: Tensor, spread_of_own_group: Tensor, std: str) -> Tensor:
    if std == "group":
        return spread_of_own_group
    if std == "batch":
        return rewards.std(correction=0) if len(rewards) else rewards.new_ones(())
    raise ValueError(f"std must be group or batch, got {std!r}")


def _check(reward: Tensor, group: Tensor, has_reward: Tensor, num_groups: int) -> None:
    if not reward[has_reward].isfinite().all():
        raise ValueError(f"every reward must be finite, got {reward[has_reward & ~reward.isfinite()].tolist()}")
    if len(group) and not (group.min() >= 0 and group.max() < num_groups):
        raise ValueError(f"groups must be 0 to {num_groups - 1}, got {int(group.min())} to {int(group.max())}")
