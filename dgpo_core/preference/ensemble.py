"""Features of pictures to strengths: an ensemble of small heads, learned from orders inside groups."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dgpo_core.preference.orders import Trust, order_loss, pair_information, pairs, trust
from dgpo_core.seeds import generator_for

NUM_HEADS, NUM_HIDDEN = 8, 16
GROUPS_AT_ONCE = 16
"""Each group takes a square of its features, which is much where encoders are wide."""
NUM_FOLDS, HEADS_PER_FOLD = 5, 3
NUM_UPDATES, LEARNING_RATE, WEIGHT_DECAY = 60, 0.05, 0.3
PRIOR_PRECISION = 6e-3
SMALLEST_SPREAD = 1e-3


@dataclass(frozen=True, slots=True)
class Ensemble:
    """E heads, each a linear part and one hidden layer over standardized features; nothing in it is trainable.

    precision is what the labels say of a linear head, as the inverse of its covariance (Laplace's approximation);
    spread is how features differ inside the groups it was learned from, summed over num_groups of them.
    """

    mean: Float[Tensor, " F"]
    scale: Float[Tensor, " F"]
    first: Float[Tensor, "E F H"]
    bias: Float[Tensor, "E 1 H"]
    second: Float[Tensor, "E H 1"]
    linear: Float[Tensor, "E F 1"]
    precision: Float[Tensor, "F F"]
    spread: Float[Tensor, "F F"]
    num_groups: Float[Tensor, ""]

    def standardized(self, features: Float[Tensor, "*B F"]) -> Float[Tensor, "*B F"]:
        """Features as the heads read them."""
        return (features - self.mean) * self.scale

    def strengths(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "E B"]:
        """Each head's strength of each picture. Only differences inside a group mean anything."""
        return _strengths(self.standardized(features), self.first, self.bias, self.second, self.linear)

    def tensors(self) -> dict[str, Tensor]:
        """All its numbers by name; Ensemble(**tensors) is the same ensemble."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


def learned(
    features: Float[Tensor, "N G F"],
    said: Float[Tensor, "N G"],
    weights: Float[Tensor, " F"],
    *,
    seed: int,
    is_trust_wanted: bool = True,
) -> tuple[Ensemble, Trust | None]:
    """Heads fitted to orders of N groups by order_loss, each to a draw of the groups with replacement, and their trust.

    Features are standardized over the pictures said anything of, then multiplied by weights: a feature of small weight
    is believed only where much speaks for it. The trust is that of further heads, learned beside these from four in
    five of the groups, on the groups left out, every group being left out once; None for fewer than two groups, or
    where it is not wanted, which saves two thirds of the time and changes the heads by rounding only.
    The same arguments give the same bits on the same machine.

    Raises:
        ValueError: no group has a preference; there is nothing to learn.
    """
    has_preference = pairs(said).any(-1).any(-1)
    if not has_preference.any():
        raise ValueError("no group has a preference")
    features, said = features[has_preference], said[has_preference]
    known = features[~said.isnan()]
    mean, scale = known.mean(0), weights / known.std(0, correction=0).clamp(min=SMALLEST_SPREAD)
    standard = (features - mean) * scale
    everything, width = torch.arange(len(said)), standard.shape[-1]
    own, of_folds = (generator_for(seed, purpose) for purpose in ("preference heads", "preference folds"))
    folds = (
        [*torch.randperm(len(said), generator=of_folds).chunk(NUM_FOLDS)] if is_trust_wanted and len(said) > 1 else []
    )
    counts = [_draw(everything, len(said), own) for _ in range(NUM_HEADS)]
    for fold in folds:
        others = everything[~torch.isin(everything, fold)]
        counts += [_draw(others, len(said), of_folds) for _ in range(HEADS_PER_FOLD)]
    starts = zip(_start(NUM_HEADS, width, own), _start(len(counts) - NUM_HEADS, width, of_folds), strict=True)
    parts = _fitted(standard.flatten(0, 1), said, torch.stack(counts), [torch.cat(pair) for pair in starts])
    strength = _strengths(standard.flatten(0, 1), *parts).unflatten(1, tuple(said.shape))
    precision, spread = PRIOR_PRECISION * len(said) * torch.eye(width), torch.zeros(width, width)
    middle = strength[:NUM_HEADS].mean(0)
    for rows in everything.split(GROUPS_AT_ONCE):
        precision += pair_information(standard[rows], middle[rows], said[rows]).sum(0)
        spread += spread_inside(standard[rows], ~said[rows].isnan()).sum(0)
    first, bias, second, linear = (part[:NUM_HEADS] for part in parts)
    num_groups = torch.tensor(float(len(said)))
    ensemble = Ensemble(mean, scale, first, bias, second, linear, precision, spread, num_groups)
    return ensemble, _trust(strength, said, folds)


def spread_inside(standard: Float[Tensor, "N G F"], is_there: Bool[Tensor, "N G"]) -> Float[Tensor, "N F F"]:
    """Covariance of the features of each group's pictures, of those that are there."""
    share = is_there / is_there.sum(1, keepdim=True)
    deviation = standard - (share[..., None] * standard).sum(1, keepdim=True)
    return torch.einsum("ngf,ng,ngh->nfh", deviation, share, deviation)


def _draw(groups: Tensor, num_groups: int, generator: torch.Generator) -> Tensor:
    """How often each of all groups is among as many drawn from these with replacement."""
    drawn = groups[torch.randint(len(groups), (len(groups),), generator=generator)]
    return drawn.bincount(minlength=num_groups).float()


def _start(num_heads: int, num_features: int, generator: torch.Generator) -> list[Tensor]:
    first = torch.randn(num_heads, num_features, NUM_HIDDEN, generator=generator) / num_features**0.5
    second = 0.3 * torch.randn(num_heads, NUM_HIDDEN, 1, generator=generator) / NUM_HIDDEN**0.5
    return [first, torch.zeros(num_heads, 1, NUM_HIDDEN), second, torch.zeros(num_heads, num_features, 1)]


def _fitted(standard: Tensor, said: Tensor, counts: Tensor, parts: list[Tensor]) -> list[Tensor]:
    for part in parts:
        part.requires_grad_()
    optimizer = torch.optim.AdamW(parts, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    share = counts / counts.sum(1, keepdim=True)
    with torch.enable_grad():
        for _ in range(NUM_UPDATES):
            strength = _strengths(standard, *parts).unflatten(1, tuple(said.shape))
            optimizer.zero_grad()
            (order_loss(strength, said) * share).sum().backward()
            optimizer.step()
    return [part.detach() for part in parts]


def _strengths(standard: Tensor, first: Tensor, bias: Tensor, second: Tensor, linear: Tensor) -> Tensor:
    hidden = (standard @ first + bias).relu()
    return (hidden @ second + standard @ linear).squeeze(-1)


def _trust(strength: Tensor, said: Tensor, folds: list[Tensor]) -> Trust | None:
    """Every group judged by the heads that did not learn from it; their heads follow those of the ensemble."""
    if not folds:
        return None
    judged = torch.zeros_like(said)
    for index, fold in enumerate(folds):
        heads = slice(NUM_HEADS + index * HEADS_PER_FOLD, NUM_HEADS + (index + 1) * HEADS_PER_FOLD)
        judged[fold] = strength[heads, fold].mean(0)
    return trust(judged, said)
