"""Groups of drawn pictures of one prompt, whose things differ in size and colour, and features that need no model."""

from __future__ import annotations

import numpy as np
import torch

from dgpo_core.data.scenes import COLORS, SHAPES, draw, place
from dgpo_core.preference.picture_features import NUM_SEEN, plainly_seen
from dgpo_core.rewards.label_scores import scores_of


class SeenFeatures:
    """Only what is plainly seen."""

    kind = "seen"

    def __call__(self, pictures, prompts):
        return torch.stack([plainly_seen(picture) for picture in pictures])

    def weights(self):
        return torch.ones(NUM_SEEN)


def drawn_groups(count, size=8, seed=0):
    """count groups of pictures, each of one to three things of one shape in any colours."""
    rng = np.random.default_rng(seed)
    groups = []
    for _ in range(count):
        shape, number = str(rng.choice(SHAPES)), int(rng.integers(1, 4))
        drawn = [
            draw(place(tuple((shape, str(rng.choice(list(COLORS)))) for _ in range(number)), rng)) for _ in range(size)
        ]
        groups.append([np.round(picture * 255).astype(np.uint8) for picture in drawn])
    return groups


def labelled_by(annotate, groups, seed=0):
    """What an annotator says of each group, as scores, with the group's features."""
    rng = np.random.default_rng(seed)
    features = SeenFeatures()
    return [(features(group, []), scores_of(annotate(group, rng), len(group))) for group in groups]
