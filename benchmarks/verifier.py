"""How often the verifier is right: accepts pictures drawn true, refuses them for a prompt that is wrong in one thing.

python -m benchmarks.verifier [--pictures 20000]
"""

from __future__ import annotations

import argparse

import numpy as np

from base_model.corpus import random_request
from base_model.lies import lie_about
from benchmarks.record import keep
from dgpo_core.data.requests import CATEGORIES, picture_of
from dgpo_core.data.scenes import draw
from dgpo_core.rewards.shapes_detector import scan
from dgpo_core.rewards.shapes_verifier import verify


def measure(num_pictures: int, seed: int = 1) -> dict[str, dict[str, float]]:
    """Accepted share of true and of wrong prompts, per category."""
    rng = np.random.default_rng(seed)
    counts = {category: [0, 0, 0] for category in CATEGORIES}
    for _ in range(num_pictures):
        request = random_request(rng)
        picture = np.round(draw(picture_of(request, rng)) * 255).astype(np.uint8)
        seen = scan(picture)
        counts[request.category][0] += 1
        counts[request.category][1] += verify(request, seen).is_right
        counts[request.category][2] += verify(lie_about(request, rng), seen).is_right
    return {
        category: {"pictures": total, "accepted_true": right / total, "accepted_wrong": wrong / total}
        for category, (total, right, wrong) in counts.items()
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=20_000)
    arguments = parser.parse_args()
    by_category = measure(arguments.pictures)
    print(keep("verifier", {"by_category": by_category}).read_text())
