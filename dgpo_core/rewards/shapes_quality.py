"""Held-out quality of Shapes pictures: never trained on, so a fall shows a reward being hacked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from scipy import linalg
from torch import Tensor

from dgpo_core.data.requests import parse_request, picture_of
from dgpo_core.data.scenes import draw
from dgpo_core.rewards.contract import Picture
from dgpo_core.rewards.shapes_detector import Scan, scan

NUM_TRUE_PICTURES = 600
SEED = 64

Features = Callable[[Sequence[Picture]], Tensor]


def clean_fraction(scans: Sequence[Scan]) -> float:
    """Share of all things that are a recognised shape, well drawn, in one pure colour; specks count against it."""
    clean = sum(thing.is_clean for one in scans for thing in one.things)
    every = sum(len(one.things) + one.num_specks for one in scans)
    return clean / every if every else 0.0


def edge_sharpness(scans: Sequence[Scan]) -> float:
    """1 where edges are as thin as drawn ones, less as they blur: mean of 1 / blur, at most 1 each."""
    sharpness = [min(1.0, 1 / thing.blur) for one in scans for thing in one.things]
    return float(np.mean(sharpness)) if sharpness else 0.0


def palette_purity(scans: Sequence[Scan]) -> float:
    """Mean share of a thing's inner pixels that have its palette colour."""
    purity = [thing.purity for one in scans for thing in one.things]
    return float(np.mean(purity)) if purity else 0.0


def background_cleanliness(scans: Sequence[Scan]) -> float:
    """Mean share of background pixels that have the background's colour."""
    return float(np.mean([one.clean_background for one in scans])) if scans else 0.0


def diversity(pictures: Sequence[Picture], prompts: Sequence[str]) -> float:
    """Mean distance between two pictures of one category: root mean square over pixels, 0..1.

    It falls when pictures grow alike: always the same place, size or free colour.
    """
    kinds: dict[str, list[Picture]] = {}
    for picture, prompt in zip(pictures, prompts, strict=True):
        kinds.setdefault(parse_request(prompt).category, []).append(picture)
    distances = [
        float(np.sqrt(((one.astype(np.float64) - other) ** 2).mean()) / 255)
        for alike in kinds.values()
        for one, other in pairwise(alike)
    ]
    return float(np.mean(distances)) if distances else 0.0


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """Frechet distance between Gaussians fitted to two sets of features (N, F), as in FID (Heusel et al. 2017).

    Raises:
        ValueError: a set has fewer than two members.
    """
    if min(len(one), len(other)) < 2:
        raise ValueError(f"a Frechet distance needs two pictures on each side, got {len(one)} and {len(other)}")
    first, second = (np.cov(side.double().numpy(), rowvar=False) for side in (one, other))
    # A little on the diagonal keeps the root real when a set has fewer members than features.
    ridge = 1e-6 * np.eye(len(first))
    root = linalg.sqrtm((first + ridge) @ (second + ridge))
    apart = (one.double().mean(0) - other.double().mean(0)).square().sum()
    return float(apart + np.trace(first + second - 2 * np.real(root)))


class ShapesQuality:
    """The quality numbers of an examination. features is the model's; true pictures are drawn once."""

    def __init__(self, features: Features) -> None:
        self._features = features
        self._true: dict[tuple[str, ...], Tensor] = {}

    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str], features: Tensor) -> dict[str, float]:
        """The numbers by name; the Frechet distance needs two pictures, and is left out for one."""
        scans = [scan(picture) for picture in pictures]
        numbers = {
            "clean things": clean_fraction(scans),
            "edge sharpness": edge_sharpness(scans),
            "palette purity": palette_purity(scans),
            "clean background": background_cleanliness(scans),
            "diversity": diversity(pictures, prompts),
        }
        if len(pictures) > 1:
            numbers["Frechet distance"] = frechet_distance(features, self._true_features(prompts))
        return numbers

    def _true_features(self, prompts: Sequence[str]) -> Tensor:
        """Features of pictures drawn true to the prompts, several for each."""
        key = tuple(prompts)
        if key not in self._true:
            rng = np.random.default_rng(SEED)
            times = -(-NUM_TRUE_PICTURES // len(prompts))
            drawn = [
                np.round(draw(picture_of(parse_request(prompt), rng)) * 255).astype(np.uint8)
                for prompt in list(prompts) * times
            ]
            with torch.no_grad():
                self._true = {key: self._features(drawn)}
        return self._true[key]
