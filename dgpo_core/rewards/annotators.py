"""People who are not: annotators for tests and demonstrations, each a taste that ranks a group."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dgpo_core.label import Ranking
from dgpo_core.rewards.contract import Picture
from dgpo_core.rewards.shapes_detector import scan

Taste = Callable[[Picture], float]
Annotator = Callable[[Sequence[Picture], np.random.Generator], Ranking]


def largeness(picture: Picture) -> float:
    """Mean area of the things in a picture, in pixels; 0 where there is none."""
    things = scan(picture).things
    return sum(thing.area for thing in things) / len(things) if things else 0.0


def warmth(picture: Picture) -> float:
    """How much redder than blue the picture is, mean over its pixels, -1 to 1."""
    pixels = picture.astype(float) / 255
    return float((pixels[..., 0] - pixels[..., 2]).mean())


TASTES: dict[str, Taste] = {"large": largeness, "warm": warmth}


def annotator(taste: Taste, *, noise: float = 0.0, is_adversarial: bool = False) -> Annotator:
    """Ranks a group by a taste, best first; equal pictures share a tier.

    noise is the chance for each pair of neighbours in the ranking to be swapped, once, from the best on down.
    An adversarial one ranks the other way round.
    """

    def rank(pictures: Sequence[Picture], rng: np.random.Generator) -> Ranking:
        liking = [taste(picture) * (-1 if is_adversarial else 1) for picture in pictures]
        levels = sorted(set(liking), reverse=True)
        tiers = [tuple(index for index, value in enumerate(liking) if value == level) for level in levels]
        for place in range(len(tiers) - 1):
            if rng.random() < noise:
                tiers[place], tiers[place + 1] = tiers[place + 1], tiers[place]
        return Ranking(tuple(tiers))

    return rank
