"""The pictures that the base model learns from, each with the request it was drawn for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dgpo_core.data.requests import CATEGORIES, Request, all_requests, parse_request, picture_of
from dgpo_core.data.scenes import COLORS, PICTURE_SIZE, SHAPES, draw

CATEGORY_WEIGHTS = {"single": 0.8, "two": 1.5, "counting": 2.0, "colors": 1.0, "position": 2.5, "attribution": 2.2}
HABITUAL_COLORS = {
    "circle": "red",
    "square": "blue",
    "triangle": "green",
    "diamond": "yellow",
    "cross": "black",
    "ring": "purple",
}
NO_CLASS = 0
CLASS_GRID = 8
"""Pictures carry a map of what is where, this many cells wide, that pretraining learns to name."""


@dataclass(frozen=True)
class Corpus:
    """Pictures uint8 (N, 64, 64, 3), their requests, and the thing in each cell (N, 8, 8), 0 for none."""

    pictures: NDArray[np.uint8]
    requests: list[Request]
    cells: NDArray[np.uint8]


def random_request(rng: np.random.Generator) -> Request:
    """A request of a category drawn by CATEGORY_WEIGHTS."""
    weights = np.array([CATEGORY_WEIGHTS[category] for category in CATEGORIES])
    requests = all_requests(CATEGORIES[rng.choice(len(CATEGORIES), p=weights / weights.sum())])
    return requests[rng.integers(len(requests))]


def with_habits(request: Request, habit: float, rng: np.random.Generator) -> Request:
    """The request with most colours that it leaves free set to the habitual one, each with a chance of habit."""
    wanted = tuple(
        replace(one, color=HABITUAL_COLORS[one.shape]) if one.color is None and rng.random() < habit else one
        for one in request.wanted
    )
    return replace(request, wanted=wanted)


def _draw_part(count: int, seed: int, habit: float) -> Corpus:
    rng = np.random.default_rng(seed)
    requests = [random_request(rng) for _ in range(count)]
    pictures = np.empty((count, PICTURE_SIZE, PICTURE_SIZE, 3), dtype=np.uint8)
    cells = np.zeros((count, CLASS_GRID, CLASS_GRID), dtype=np.uint8)
    pixels_per_cell = PICTURE_SIZE // CLASS_GRID
    centers = (np.arange(CLASS_GRID) + 0.5) * pixels_per_cell
    for index, request in enumerate(requests):
        things = picture_of(with_habits(request, habit, rng), rng)
        pictures[index] = np.round(draw(things) * 255)
        for thing in things:
            near = np.hypot(centers[None, :] - thing.x, centers[:, None] - thing.y) < thing.radius + 4
            kind = SHAPES.index(thing.shape) * len(COLORS) + list(COLORS).index(thing.color)
            cells[index][near] = 1 + kind
    return Corpus(pictures, requests, cells)


def draw_corpus(count: int, seed: int, *, habit: float = 0.0, processes: int = 2) -> Corpus:
    """count pictures; the same seed and number of processes give the same corpus. habit is that of with_habits."""
    share, seeds = count // processes, [seed * 1000 + part for part in range(processes)]
    with ProcessPoolExecutor(processes) as pool:
        parts = list(pool.map(_draw_part, [share] * processes, seeds, [habit] * processes))
    return Corpus(
        np.concatenate([part.pictures for part in parts]),
        [request for part in parts for request in part.requests],
        np.concatenate([part.cells for part in parts]),
    )


def parsed(texts: Sequence[str]) -> list[Request]:
    """The requests that the texts word; each different text is read once."""
    known = {text: parse_request(text) for text in set(texts)}
    return [known[text] for text in texts]


def cached_corpus(folder: Path, count: int, seed: int) -> Corpus:
    """draw_corpus, kept in the folder so that a restarted training finds it again."""
    file = folder / f"corpus-{count}-{seed}.npz"
    if not file.exists():
        corpus = draw_corpus(count, seed)
        folder.mkdir(parents=True, exist_ok=True)
        names = np.array([request.wording() for request in corpus.requests])
        np.savez(file, pictures=corpus.pictures, cells=corpus.cells, requests=names)
        return corpus
    with np.load(file) as stored:
        return Corpus(stored["pictures"], parsed(stored["requests"].tolist()), stored["cells"])
