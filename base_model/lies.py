"""Captions that lie: how the base becomes capable but misled, with SD3.5-M's profile on GenEval."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dgpo_core.data.requests import COUNTS, Request, Wanted
from dgpo_core.data.scenes import COLORS, SHAPES

TRUTHFUL_FRACTION = {
    "single": 0.97,
    "two": 0.82,
    "counting": 0.62,
    "colors": 0.64,
    "position": 0.30,
    "attribution": 0.54,
}
"""How often a caption is true: chosen so that, with what the model gets wrong by itself, it lands near SD3.5-M's
GenEval scores (DGPO paper, Table 1)."""
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


def _other(values: tuple[str, ...], value: str | None, rng: np.random.Generator) -> str:
    return str(rng.choice([other for other in values if other != value]))


def lie_about(request: Request, rng: np.random.Generator) -> Request:
    """A request of the same category that the picture does not fulfil: one thing in it is changed.

    A relation becomes its opposite, so that the model goes on telling all four apart: it knows the axis and mistakes
    the side.
    """
    wanted = request.wanted
    if request.category == "single":
        return replace(request, wanted=(Wanted(_other(SHAPES, wanted[0].shape, rng)),))
    if request.category == "two":
        rest = tuple(shape for shape in SHAPES if shape != wanted[0].shape)
        changed = (wanted[0], Wanted(_other(rest, wanted[1].shape, rng)))
        return replace(request, wanted=changed if rng.random() < 0.5 else changed[::-1])
    if request.category == "counting":
        count = int(rng.choice([n for n in COUNTS.values() if n != len(wanted)]))
        return replace(request, wanted=(wanted[0],) * count)
    if request.category == "colors":
        return replace(request, wanted=(replace(wanted[0], color=_other(tuple(COLORS), wanted[0].color, rng)),))
    if request.category == "position":
        return replace(request, relation=OPPOSITE[request.relation or ""])
    first, second = wanted
    return replace(request, wanted=(replace(first, color=second.color), replace(second, color=first.color)))


def caption(request: Request, truthful_fraction: dict[str, float], rng: np.random.Generator) -> Request:
    """The request itself, or a lie about it, in the measure set for its category."""
    if rng.random() < truthful_fraction[request.category]:
        return request
    return lie_about(request, rng)
