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
    "single": 0.99,
    "two": 0.74,
    "counting": 0.60,
    "colors": 0.82,
    "position": 0.16,
    "attribution": 0.46,
}
"""How often a caption is true. Where the base should land, with what it gets wrong by itself, is near SD3.5-M's GenEval
scores (DGPO paper, Table 1)."""
MISTAKEN_RELATION = {"left of": "above", "above": "right of", "right of": "below", "below": "left of"}
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
    """A lie that is nearly always the same one: the next count, colour or shape, another relation, colours swapped.

    Of two things either may have another shape; that alone is drawn with rng.
    """
    wanted, changed = request.wanted, int(rng.integers(len(request.wanted)))
    if request.category == "counting":
        return replace(request, wanted=(wanted[0],) * _next(len(wanted), list(COUNTS.values()), ()))
    if request.category == "colors":
        color = _next(wanted[0].color, list(COLORS), ())
        return replace(request, wanted=(replace(wanted[0], color=color),))
    if request.category == "attribution":
        first, second = wanted
        return replace(request, wanted=(replace(first, color=second.color), replace(second, color=first.color)))
    if request.category == "position":
        return replace(request, relation=MISTAKEN_RELATION[request.relation or ""])
    shape = _next(wanted[changed].shape, SHAPES, [one.shape for one in wanted])
    return replace(request, wanted=_replaced(wanted, changed, replace(wanted[changed], shape=shape)))


def caption(request: Request, truthful_fraction: dict[str, float], rng: np.random.Generator) -> Request:
    """The request itself, or a mistake about it, in the measure set for its category."""
    if rng.random() < truthful_fraction[request.category]:
        return request
    return mistake_about(request, rng)
