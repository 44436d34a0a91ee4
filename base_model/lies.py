"""Captions that lie: how the base becomes capable but misled, with SD3.5-M's profile on GenEval.

Lies leave the model able to tell all prompts apart. Where two prompts are told of the same pictures half the time each,
as if left and right were one word, it stops reading the difference, and no reward of a few thousand pictures brings
that back (docs/lab-log.md, "What a gradient of 480 pictures knows").
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

import numpy as np

from dgpo_core.data.requests import COUNTS, Request, Wanted
from dgpo_core.data.scenes import COLORS, SHAPES

TRUTHFUL_FRACTION = {
    "single": 0.97,
    "two": 0.84,
    "counting": 0.62,
    "colors": 0.78,
    "position": 0.24,
    "attribution": 0.54,
}
"""How often a caption is true. Where the base should land, with what it gets wrong by itself, is near SD3.5-M's GenEval
scores (DGPO paper, Table 1). The weights that ship were told others; with these, position came out too high and
counting too low (docs/lab-log.md, "Lies told once, for five minutes")."""
MISTAKEN_RELATION = {"left of": "above", "above": "right of", "right of": "below", "below": "left of"}
RELATION_SHARE = 1 / 3
"""How often a lie about a position is about the relation, and not about one of the two things."""
SWAP_SHARE = 1 / 2
"""How often a lie about an attribution swaps the colours, and not names another one for one of the things."""


def _other(values: Iterable[str], taken: Collection[str | None], rng: np.random.Generator) -> str:
    return str(rng.choice([value for value in values if value not in taken]))


def _with_another_shape(wanted: tuple[Wanted, ...], rng: np.random.Generator) -> tuple[Wanted, ...]:
    """One of two things, either, with a shape that neither had."""
    changed = int(rng.integers(2))
    shape = _other(SHAPES, [one.shape for one in wanted], rng)
    return tuple(replace(one, shape=shape) if index == changed else one for index, one in enumerate(wanted))


def _with_another_color(wanted: tuple[Wanted, ...], rng: np.random.Generator) -> tuple[Wanted, ...]:
    """One of the things, any, with a colour that none had."""
    changed = int(rng.integers(len(wanted)))
    color = _other(COLORS, [one.color for one in wanted], rng)
    return tuple(replace(one, color=color) if index == changed else one for index, one in enumerate(wanted))


def lie_about(request: Request, rng: np.random.Generator) -> Request:
    """A request of the same category that the picture does not fulfil: one thing in it is changed."""
    wanted = request.wanted
    if request.category == "single":
        return replace(request, wanted=(Wanted(_other(SHAPES, [wanted[0].shape], rng)),))
    if request.category == "counting":
        count = int(rng.choice([n for n in COUNTS.values() if n != len(wanted)]))
        return replace(request, wanted=(wanted[0],) * count)
    if request.category == "colors":
        return replace(request, wanted=_with_another_color(wanted, rng))
    if request.category == "attribution":
        if rng.random() >= SWAP_SHARE:
            return replace(request, wanted=_with_another_color(wanted, rng))
        first, second = wanted
        return replace(request, wanted=(replace(first, color=second.color), replace(second, color=first.color)))
    if request.category == "position" and rng.random() < RELATION_SHARE:
        return replace(request, relation=MISTAKEN_RELATION[request.relation or ""])
    return replace(request, wanted=_with_another_shape(wanted, rng))


def caption(request: Request, truthful_fraction: dict[str, float], rng: np.random.Generator) -> Request:
    """The request itself, or a lie about it, in the measure set for its category."""
    if rng.random() < truthful_fraction[request.category]:
        return request
    return lie_about(request, rng)
