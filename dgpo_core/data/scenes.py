"""Scenes of the Shapes world: what may be drawn, and the drawing of it, 64 x 64 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray

PICTURE_SIZE = 64
BACKGROUND = (0.96, 0.95, 0.93)
COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.87, 0.16, 0.17),
    "green": (0.16, 0.64, 0.28),
    "blue": (0.15, 0.36, 0.88),
    "yellow": (0.97, 0.80, 0.10),
    "purple": (0.58, 0.20, 0.70),
    "black": (0.10, 0.10, 0.12),
}
SHAPES = ("circle", "square", "triangle", "diamond", "cross", "ring")
MIN_RADIUS, MAX_RADIUS = 6.0, 9.5
GAP = 2.5
"""Pixels of background kept between two things, so that a picture can be segmented."""

Pixels = NDArray[np.float32]
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Thing:
    """One drawn object. radius is that of the circle of the same area, in pixels; (x, y) its centroid."""

    shape: str
    color: str
    x: float
    y: float
    radius: float


REACH = {
    "circle": 1.0,
    "square": sqrt(pi / 2),
    "triangle": sqrt(4 * pi / (3 * sqrt(3))),
    "diamond": sqrt(pi / 2),
    "cross": sqrt(9 * pi / 20) * sqrt(10) / 3,
    "ring": sqrt(4 / 3),
}
"""Distance from the centroid to the farthest point, for a shape of area pi."""


def signed_distance(shape: str, dx: Array, dy: Array, radius: float) -> Array:
    """Distance to the outline in pixels, negative inside; dx, dy are offsets from the centroid, y down.

    Every shape of the same radius has the same area, pi * radius ** 2. Corners are
    treated as the meeting of half planes, which is exact inside and near the edges.
    """
    if shape == "circle":
        return np.hypot(dx, dy) - radius
    if shape == "square":
        return np.maximum(np.abs(dx), np.abs(dy)) - radius * sqrt(pi) / 2
    if shape == "diamond":
        return (np.abs(dx) + np.abs(dy)) / sqrt(2) - radius * sqrt(pi) / 2
    if shape == "triangle":
        inner = radius * REACH["triangle"] / 2
        slanted = (np.abs(dx) * sqrt(3) - dy) / 2
        return np.maximum(dy, slanted) - inner
    if shape == "cross":
        half = radius * sqrt(9 * pi / 20)
        wide = np.maximum(np.abs(dx) - half, np.abs(dy) - half / 3)
        tall = np.maximum(np.abs(dx) - half / 3, np.abs(dy) - half)
        return np.minimum(wide, tall)
    if shape == "ring":
        outer = radius * REACH["ring"]
        distance = np.hypot(dx, dy)
        return np.maximum(distance - outer, outer / 2 - distance)
    raise ValueError(f"shape must be one of {', '.join(SHAPES)}; got {shape!r}.")


_ROWS, _COLUMNS = np.mgrid[0:PICTURE_SIZE, 0:PICTURE_SIZE].astype(np.float64) + 0.5


def coverage(shape: str, x: float, y: float, radius: float) -> Array:
    """Share of each pixel that the shape covers, 0..1, over the whole picture."""
    return np.clip(0.5 - signed_distance(shape, _COLUMNS - x, _ROWS - y, radius), 0.0, 1.0)


def draw(things: tuple[Thing, ...]) -> Pixels:
    """The picture of the things on the background: float32 (64, 64, 3), 0..1, anti-aliased."""
    picture = np.broadcast_to(np.array(BACKGROUND), (PICTURE_SIZE, PICTURE_SIZE, 3)).copy()
    for thing in things:
        alpha = coverage(thing.shape, thing.x, thing.y, thing.radius)[..., None]
        picture = (1 - alpha) * picture + alpha * np.array(COLORS[thing.color])
    return picture.astype(np.float32)


def relation_between(first: tuple[float, float], second: tuple[float, float]) -> str:
    """Where the first (x, y) lies as seen from the second: the axis of the larger offset decides."""
    dx, dy = first[0] - second[0], first[1] - second[1]
    if abs(dx) > abs(dy):
        return "left of" if dx < 0 else "right of"
    return "above" if dy < 0 else "below"


def place(
    kinds: tuple[tuple[str, str], ...], rng: np.random.Generator, relation: str | None = None
) -> tuple[Thing, ...]:
    """Things of the given (shape, color) kinds at random free places and sizes.

    With a relation, the first lies so from the second, by at least 1.4 times the offset on
    the other axis, so that no drawn picture is a matter of taste.
    """
    while True:
        things: list[Thing] = []
        for shape, color in kinds:
            thing = _find_place(shape, color, things, rng)
            if thing is None:
                break
            things.append(thing)
        if len(things) == len(kinds) and (relation is None or _clearly(relation, things[0], things[1])):
            return tuple(things)


def _find_place(shape: str, color: str, others: list[Thing], rng: np.random.Generator) -> Thing | None:
    for _ in range(20):
        radius = rng.uniform(MIN_RADIUS, MAX_RADIUS)
        margin = radius * REACH[shape] + 1.0
        x, y = rng.uniform(margin, PICTURE_SIZE - margin, size=2)
        if all(np.hypot(x - o.x, y - o.y) > radius * REACH[shape] + o.radius * REACH[o.shape] + GAP for o in others):
            return Thing(shape, color, float(x), float(y), float(radius))
    return None


def _clearly(relation: str, first: Thing, second: Thing) -> bool:
    dx, dy = abs(first.x - second.x), abs(first.y - second.y)
    return max(dx, dy) > 1.4 * min(dx, dy) and relation == relation_between((first.x, first.y), (second.x, second.y))
