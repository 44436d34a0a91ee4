"""What a head says of groups against what people said of them: likelihood, share of pairs, calibration.

said holds one score per picture, N groups of G, higher is better, NaN where nothing was said or a group is smaller;
only the order inside a group is read. strength is a head's own number for the same pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

NUM_BINS = 5


def pairs(said: Float[Tensor, "N G"]) -> Bool[Tensor, "N G G"]:
    """Whether the first picture of a pair was said to be better than the second."""
    return said[:, :, None] > said[:, None, :]


def order_loss(strength: Float[Tensor, "*M N G"], said: Float[Tensor, "N G"]) -> Float[Tensor, "*M N"]:
    """Mean negative log-likelihood of a group's choices under Plackett and Luce's model; 0 for a group without any.

    Every picture is a choice among itself and all that were said to be worse; those as good take no part in it. For a
    whole order this is Plackett-Luce's likelihood, for two pictures Bradley-Terry's, picks and stars lie between.
    """
    better = pairs(said)
    rivals = torch.where(better, strength[..., None, :], -torch.inf)
    everyone = torch.cat([strength[..., None], rivals], dim=-1)
    is_choice = better.any(-1)
    lost = torch.where(is_choice, everyone.logsumexp(-1) - strength, 0.0)
    return lost.sum(-1) / is_choice.sum(-1).clamp(min=1)


@dataclass(frozen=True, slots=True)
class Bin:
    """Pairs for which a head was about as sure: its mean probability, how often it was right, how many pairs."""

    sure: float
    right: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How far a head may be trusted on groups that it did not learn from.

    accuracy is the share of pairs it orders as people did, a tie of its own counting half; calibration_error the mean
    gap between how sure it was and how often it was right, over bins of pairs.
    """

    accuracy: float
    calibration_error: float
    num_pairs: int
    bins: tuple[Bin, ...]


def trust(strength: Float[Tensor, "N G"], said: Float[Tensor, "N G"]) -> Trust | None:
    """Accuracy and calibration over all pairs on which people have a preference; None where there is no such pair."""
    better = pairs(said)
    if not better.any():
        return None
    gap = (strength[:, :, None] - strength[:, None, :])[better].double()
    is_right = torch.where(gap == 0, 0.5, (gap > 0).double())
    sure = gap.abs().sigmoid()
    edges = torch.linspace(0.5, 1.0, NUM_BINS + 1, dtype=torch.float64)
    place = torch.bucketize(sure, edges[1:-1], right=True)
    bins = _bins(sure, is_right, [place == index for index in range(NUM_BINS)])
    return Trust(
        accuracy=float(is_right.mean()),
        calibration_error=sum(one.count * abs(one.sure - one.right) for one in bins) / len(gap),
        num_pairs=len(gap),
        bins=bins,
    )


def _bins(sure: Tensor, is_right: Tensor, members: Sequence[Tensor]) -> tuple[Bin, ...]:
    return tuple(
        Bin(float(sure[chosen].mean()), float(is_right[chosen].mean()), int(chosen.sum()))
        for chosen in members
        if chosen.any()
    )


def pair_information(
    features: Float[Tensor, "N G F"], strength: Float[Tensor, "N G"], said: Float[Tensor, "N G"] | None = None
) -> Float[Tensor, "N F F"]:
    """Fisher's information that a group's order gives on a linear head: mean over its pairs of p (1 - p) d d^T.

    d is the difference of features of a pair, p the probability of one order. Pairs on which said is silent or tied do
    not count; without said all do. Near-certain pairs teach nothing, nor do pictures that look alike.
    """
    first, second = torch.triu_indices(strength.shape[1], strength.shape[1], 1)
    gap = features[:, first] - features[:, second]
    probability = (strength[:, first] - strength[:, second]).sigmoid()
    weight = probability * (1 - probability)
    if said is not None:
        weight = weight * ((said[:, first] > said[:, second]) | (said[:, first] < said[:, second]))
    return torch.einsum("npf,np,npg->nfg", gap, weight, gap) / max(len(first), 1)
