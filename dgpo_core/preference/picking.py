"""Which groups to ask people about: those whose labels would leave the least doubt about all the others."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from dgpo_core.preference.ensemble import Ensemble, spread_inside
from dgpo_core.preference.orders import pair_information

EARLY_GROUPS = 12
ROUNDING = 1e-9
"""A feature, in units of its spread, whose variance inside groups is less does not vary there."""


def worth_asking(ensemble: Ensemble, features: Float[Tensor, "N G F"], count: int) -> list[int]:
    """The count groups to ask about: the most telling ones, but every other one by chance once EARLY_GROUPS are known.

    Telling groups are unusual ones; heads learned from them alone come to fit the unusual and get worse on the rest.
    By chance are the first ones, since the prompts of a step come in random order.
    """
    num_telling = count if ensemble.num_groups < EARLY_GROUPS else -(-count // 2)
    chosen = most_telling(ensemble, features, num_telling)
    others = [index for index in range(len(features)) if index not in chosen]
    return sorted(chosen + others[: max(count - num_telling, 0)])


def group_doubt(strength: Float[Tensor, "E N G"]) -> Float[Tensor, " N"]:
    """How little heads agree on the order inside each group: standard deviation over heads of the probability that one
    picture is better than another, mean over pairs. 0 for full agreement, at most 0.5."""
    probability = (strength[..., :, None] - strength[..., None, :]).sigmoid()
    size = strength.shape[-1]
    return probability.std(0, correction=0).sum((1, 2)) / max(size * (size - 1), 1)


def most_telling(ensemble: Ensemble, features: Float[Tensor, "N G F"], count: int) -> list[int]:
    """The count groups, in order of choice, whose labels would teach most about these N and those known before.

    One after the other, that with the greatest expected fall of the variance of a linear head's pair differences, mean
    over the pairs of all groups, given what labels and the groups chosen before it say (Bayesian A-optimal design
    with Laplace's approximation). Groups that the heads merely differ on, such as odd pictures, are not enough:
    asking for the largest doubt alone teaches less than chance here (docs/people.md).
    """
    standard = ensemble.standardized(features).double()
    strength = ensemble.strengths(features.flatten(0, 1)).mean(0).unflatten(0, tuple(features.shape[:2])).double()
    is_there = torch.ones(features.shape[:2], dtype=torch.bool)
    wanted = ensemble.spread.double() + spread_inside(standard, is_there).sum(0)
    varied = wanted.diagonal() > ROUNDING  # what all pictures of a prompt share, such as its encoding, tells no order
    information = pair_information(standard[..., varied], strength)
    wanted, precision = (square[varied][:, varied] for square in (wanted, ensemble.precision.double()))
    chosen = list[int]()
    for _ in range(min(count, len(features))):
        left = [(wanted * torch.linalg.inv(precision + one)).sum() for one in information]
        best = min((index for index in range(len(left)) if index not in chosen), key=lambda index: float(left[index]))
        chosen.append(best)
        precision = precision + information[best]
    return chosen
