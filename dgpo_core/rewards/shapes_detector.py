"""Finds the things in a picture of the Shapes world: what shape, what colour, where, how clean."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dgpo_core.data.scenes import BACKGROUND, COLORS, SHAPES, signed_distance

Floats = NDArray[np.float64]

FOREGROUND_DISTANCE = 0.2
"""A pixel this far from the background in RGB (0..1) belongs to something."""
MIN_AREA = 12.0
"""Less covered pixels than this are a speck, not a thing."""
MIN_OVERLAP = 0.75
"""A thing overlaps its ideal shape at least so much (intersection over union), or it is a blob."""
COLOR_TOLERANCE = 0.22
MIN_PURITY = 0.75
CLEAN_OVERLAP, CLEAN_PURITY = 0.85, 0.9

_NAMES = tuple(COLORS)
_PALETTE = np.array([COLORS[name] for name in _NAMES])
_BACKGROUND = np.array(BACKGROUND)
_EVERYWHERE = np.ones((3, 3))


@dataclass(frozen=True, slots=True)
class Found:
    """One thing in a picture. shape or color is None where it is none that the world knows.

    overlap is with the ideal shape, 0..1; purity the share of its inner pixels that have
    its colour; blur how much wider its edge is than a drawn one (1 is as drawn).
    """

    shape: str | None
    color: str | None
    x: float
    y: float
    area: float
    overlap: float
    purity: float
    blur: float

    @property
    def is_clean(self) -> bool:
        """A recognised shape, well drawn, in one pure colour."""
        known = self.shape is not None and self.color is not None
        return known and self.overlap >= CLEAN_OVERLAP and self.purity >= CLEAN_PURITY

    def __str__(self) -> str:
        return f"{self.color or 'mixed-colour'} {self.shape or 'blob'}"


@dataclass(frozen=True, slots=True)
class Scan:
    """What a picture holds: its things, the specks, and the share of background pixels that are clean."""

    things: tuple[Found, ...]
    num_specks: int
    clean_background: float


def scan(picture: NDArray[np.uint8]) -> Scan:
    """Segments a picture, uint8 (H, W, 3), into things and background."""
    pixels = picture.astype(np.float64) / 255
    distance = np.sqrt(((pixels - _BACKGROUND) ** 2).sum(axis=2))
    labels, _ = ndimage.label(distance > FOREGROUND_DISTANCE, structure=_EVERYWHERE)
    things, num_specks = [], 0
    for index, window in enumerate(ndimage.find_objects(labels), start=1):
        found = _measure(pixels, labels, index, window)
        if found is None:
            num_specks += 1
        else:
            things.append(found)
    outside = ~ndimage.binary_dilation(labels > 0, structure=_EVERYWHERE, iterations=2)
    clean = float((distance[outside] < FOREGROUND_DISTANCE / 4).mean()) if outside.any() else 0.0
    return Scan(tuple(things), num_specks, clean)


def _measure(pixels: Floats, labels: NDArray[np.int32], index: int, window: tuple[slice, slice]) -> Found | None:
    """The component as a thing, or None for a speck."""
    top, left = max(0, window[0].start - 3), max(0, window[1].start - 3)
    area = (slice(top, window[0].stop + 3), slice(left, window[1].stop + 3))
    patch, inside = pixels[area], labels[area] == index
    color_index = _main_color(patch[inside])
    offset = _PALETTE[color_index] - _BACKGROUND
    alpha = np.clip((patch - _BACKGROUND) @ offset / (offset @ offset), 0, 1)
    alpha *= ndimage.binary_dilation(inside, structure=_EVERYWHERE)
    mass = float(alpha.sum())
    if mass < MIN_AREA:
        return None
    rows, columns = np.mgrid[0 : alpha.shape[0], 0 : alpha.shape[1]] + 0.5
    x, y = float((alpha * columns).sum() / mass), float((alpha * rows).sum() / mass)
    shape, overlap, ideal = _best_shape(alpha, columns - x, rows - y, sqrt(mass / pi))
    inner = ideal > 0.99
    right_color = ((patch - _PALETTE[color_index]) ** 2).sum(axis=2) < COLOR_TOLERANCE**2
    purity = float(right_color[inner].mean()) if inner.any() else 0.0
    return Found(
        shape=shape if overlap >= MIN_OVERLAP else None,
        color=_NAMES[color_index] if purity >= MIN_PURITY else None,
        x=left + x,
        y=top + y,
        area=mass,
        overlap=overlap,
        purity=purity,
        blur=_edge_width(alpha) / _edge_width(ideal),
    )


def _main_color(pixels: Floats) -> int:
    """Which palette colour most pixels are nearest to; faint edge pixels have no say."""
    strength = ((pixels - _BACKGROUND) ** 2).sum(axis=1)
    core = pixels[strength >= np.quantile(strength, 0.3)]
    nearest = ((core[:, None, :] - _PALETTE) ** 2).sum(axis=2).argmin(axis=1)
    return int(np.bincount(nearest, minlength=len(_NAMES)).argmax())


def _best_shape(alpha: Floats, dx: Floats, dy: Floats, radius: float) -> tuple[str, float, Floats]:
    """The shape of this area and centre that overlaps most, its overlap, and its ideal coverage."""
    best: tuple[str, float, Floats] | None = None
    for shape in SHAPES:
        ideal = np.clip(0.5 - signed_distance(shape, dx, dy, radius), 0, 1)
        overlap = float(np.minimum(alpha, ideal).sum() / np.maximum(alpha, ideal).sum())
        if best is None or overlap > best[1]:
            best = (shape, overlap, ideal)
    assert best is not None
    return best


def _edge_width(alpha: Floats) -> float:
    """Area of half-covered pixels: about the length of the outline for a sharp edge, more for a blurred one."""
    return float((4 * alpha * (1 - alpha)).sum()) + 1.0
