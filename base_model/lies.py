"""Captions that lie: how the base becomes capable but misled, with SD3.5-M's profile on GenEval.

A lie that is told in training is a mistake that comes back: a square for a circle, four for three, above for left of,
the colours of two things swapped. Two answers, one of them true, are drawn cleanly; a lie that may be anything leaves
a model in doubt, and its things mixed (docs/lab-log.md, "Lies taught by the truth to a LoRA").
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from dgpo_core.data.requests import COUNTS, Request, Wanted
from dgpo_core.data.scenes import COLORS, SHAPES

TRUTHFUL_FRACTION = {
    "single": 0.97,
    "two": 0.78,
    "counting": 0.60,
    "colors": 0.82,
    "position": 0.14,
    "attribution": 0.54,
}
"""How often a caption is true. Where the base should land, with what it gets wrong by itself, is near SD3.5-M's GenEval
scores (DGPO paper, Table 1)."""
MISTAKEN_RELATION = {"left of": "above", "above": "right of", "right of": "below", "below": "left of"}
RELATION_SHARE = 1 / 2
"""How often a mistake about a position is about the relation, and not about one of the two things."""
SWAP_SHARE = 1 / 2
"""How often a mistake about an attribution swaps the colours, and does not put another for one of them."""
T = TypeVar("T")


def _other(values: Iterable[str], taken: Collection[str | None], rng: np.random.Generator) -> str:
    return str(rng.choice([value for value in values if value not in taken]))


def _next(value: T, values: Sequence[T], taken: Collection[T]) -> T:
    """The first value after this one, in a circle, that is not taken."""
    start = values.index(value) + 1
    return next(one for one in (*values[start:], *values[:start]) if one not in taken)


def _replaced(wanted: tuple[Wanted, ...], index: int, one: Wanted) -> tuple[Wanted, ...]:
    return (*wanted[:index], one, *wanted[index + 1 :])


def lie_about(request: Request, rng: np.random.Generator) -> Request:
    """A request of the same category that the picture does not fulfil: one thing in it is changed, into anything."""
    wanted, changed = request.wanted, int(rng.integers(len(request.wanted)))
    if request.category == "counting":
        count = int(rng.choice([n for n in COUNTS.values() if n != len(wanted)]))
        return replace(request, wanted=(wanted[0],) * count)
    if request.category in ("colors", "attribution"):
        color = _other(COLORS, [one.color for one in wanted], rng)
        return replace(request, wanted=_replaced(wanted, changed, replace(wanted[changed], color=color)))
    if request.relation and rng.random() < 1 / 2:
        return replace(request, relation=_other(MISTAKEN_RELATION, [request.relation], rng))
    shape = _other(SHAPES, [one.shape for one in wanted], rng)
    return replace(request, wanted=_replaced(wanted, changed, replace(wanted[changed], shape=shape)))


def mistake_about(request: Request, rng: np.random.Generator) -> Request:
    """A lie that is one of few: the next count, colour or shape, another relation, or two colours swapped.

    Each value is mistaken for the same one every time; rng draws which of two things has another shape or colour.
    """
    wanted, changed = request.wanted, int(rng.integers(len(request.wanted)))
    if request.category == "counting":
        return replace(request, wanted=(wanted[0],) * _next(len(wanted), list(COUNTS.values()), ()))
    if request.relation and rng.random() < RELATION_SHARE:
        return replace(request, relation=MISTAKEN_RELATION[request.relation])
    if request.category == "attribution" and rng.random() < SWAP_SHARE:
        first, second = wanted
        return replace(request, wanted=(replace(first, color=second.color), replace(second, color=first.color)))
    if request.category in ("colors", "attribution"):
        color = _next(wanted[changed].color, list(COLORS), [one.color for one in wanted])
        return replace(request, wanted=_replaced(wanted, changed, replace(wanted[changed], color=color)))
    shape = _next(wanted[changed].shape, SHAPES, [one.shape for one in wanted])
    return replace(request, wanted=_replaced(wanted, changed, replace(wanted[changed], shape=shape)))


def caption(request: Request, truthful_fraction: dict[str, float], rng: np.random.Generator) -> Request:
    """The request itself, or a mistake about it, in the measure set for its category."""
    if rng.random() < truthful_fraction[request.category]:
        return request
    return mistake_about(request, rng)
