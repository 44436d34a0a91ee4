"""Captions that lie: how the base becomes capable but misled, with SD3.5-M's profile on GenEval.

A lie that is told in training is a mistake that comes back: a square for a circle, four for three, above for left of,
the colours of two things swapped. Two answers, one of them true, are drawn cleanly; a lie that may be anything leaves
a model in doubt, and its things mixed (docs/lab-log.md, "Lies taught by the truth to a LoRA").
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np

from dgpo_core.data.requests import COUNTS, Request
from dgpo_core.data.scenes import COLORS, SHAPES

TRUTHFUL_FRACTION = {
    "single": 0.97,
    "two": 0.87,
    "counting": 0.62,
    "colors": 0.70,
    "position": 0.06,
    "attribution": 0.52,
}
"""How often a caption is true. Where the base should land, with what it gets wrong by itself, is near SD3.5-M's GenEval
scores (DGPO paper, Table 1)."""
MISTAKEN_RELATION = {"left of": "above", "above": "right of", "right of": "below", "below": "left of"}
"""Each for the next one in this circle."""
RELATION_SHARE = 0.55
"""How often a mistake about a position is about the relation, and not about one of the two things."""
SWAP_SHARE = 1 / 2
"""How often a mistake about an attribution swaps the colours, and does not put another for one of them."""
T = TypeVar("T")


class Choose(Protocol):
    """Takes one of the values that are not taken, in place of one of them."""

    def __call__(self, value: T, values: Sequence[T], taken: Collection[T]) -> T: ...


def _next(value: T, values: Sequence[T], taken: Collection[T]) -> T:
    """The first value after this one, in a circle, that is not taken."""
    start = values.index(value) + 1
    return next(one for one in (*values[start:], *values[:start]) if one not in taken)


def _changed(request: Request, rng: np.random.Generator, choose: Choose) -> Request:
    """A request of the same category in which one thing is another, or two colours are swapped."""
    wanted, changed = request.wanted, int(rng.integers(len(request.wanted)))
    if request.category == "counting":
        return replace(request, wanted=(wanted[0],) * choose(len(wanted), list(COUNTS.values()), [len(wanted)]))
    if request.relation and rng.random() < RELATION_SHARE:
        return replace(request, relation=choose(request.relation, list(MISTAKEN_RELATION), [request.relation]))
    if request.category == "attribution" and rng.random() < SWAP_SHARE:
        first, second = wanted
        return replace(request, wanted=(replace(first, color=second.color), replace(second, color=first.color)))
    if request.category in ("colors", "attribution"):
        color = choose(wanted[changed].color, list(COLORS), [one.color for one in wanted])
        other = replace(wanted[changed], color=color)
    else:
        shape = choose(wanted[changed].shape, SHAPES, [one.shape for one in wanted])
        other = replace(wanted[changed], shape=shape)
    return replace(request, wanted=(*wanted[:changed], other, *wanted[changed + 1 :]))


def lie_about(request: Request, rng: np.random.Generator) -> Request:
    """A request of the same category that the picture does not fulfil: one thing in it is changed, into anything."""

    def any_other(value: T, values: Sequence[T], taken: Collection[T]) -> T:
        left = [one for one in values if one not in taken]
        return left[int(rng.integers(len(left)))]

    return _changed(request, rng, any_other)


def mistake_about(request: Request, rng: np.random.Generator) -> Request:
    """A lie that is one of few: the next count, colour or shape, another relation, or two colours swapped.

    Each value is mistaken for the same one every time; rng draws which of two things has another shape or colour.
    """
    return _changed(request, rng, _next)


def caption(request: Request, truthful_fraction: dict[str, float], rng: np.random.Generator) -> Request:
    """The request itself, or a mistake about it, in the measure set for its category."""
    if rng.random() < truthful_fraction[request.category]:
        return request
    return mistake_about(request, rng)
