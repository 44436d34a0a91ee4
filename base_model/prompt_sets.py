"""Writes assets/prompts/shapes-train.txt and shapes-heldout.txt, which have no prompt in common.

    python -m base_model.prompt_sets

Of colors, two, position and attribution whole scenes are held out, in whatever order they are named, so that the
examination asks for what was never trained on; of single and counting, which have few, wordings are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from dgpo_core.data.prompts import SHIPPED, check_disjoint
from dgpo_core.data.requests import CATEGORIES, ENDINGS, OPENINGS, Request, all_requests

NUM_HELDOUT = 100
NUM_TRAIN = {"single": 20, "two": 200, "counting": 440, "colors": 160, "position": 560, "attribution": 400}
"""Prompts per category; position and counting get most and single least, as in Flow-GRPO's training set of GenEval."""
HELDOUT_SHARE = 0.3
SEED = 2510_08425


def split_category(category: str, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Train and held-out prompts of a category."""
    requests = all_requests(category)
    wordings = list(product(OPENINGS, ENDINGS))
    order = rng.permutation(len(requests))
    if category in ("single", "counting"):
        every = [request.wording(*words) for request in requests for words in wordings]
        shuffled = [every[index] for index in rng.permutation(len(every))]
        return shuffled[NUM_HELDOUT:][: NUM_TRAIN[category]], shuffled[:NUM_HELDOUT]
    num_held = round(HELDOUT_SHARE * len(requests))
    train, heldout = (
        _worded([requests[index] for index in part], rng) for part in (order[num_held:], order[:num_held])
    )
    heldout = heldout[:NUM_HELDOUT]
    scenes = {request.scene() for request, _ in heldout}
    free = [one for one in train if one[0].scene() not in scenes]
    return [prompt for _, prompt in free[: NUM_TRAIN[category]]], [prompt for _, prompt in heldout]


def _worded(requests: Sequence[Request], rng: np.random.Generator) -> list[tuple[Request, str]]:
    """Every wording of the requests, in random order."""
    every = [(request, request.wording(*words)) for request in requests for words in product(OPENINGS, ENDINGS)]
    return [every[index] for index in rng.permutation(len(every))]


def write_prompt_sets() -> None:
    """Both files, each with the categories taking turns, so that any stretch of it holds all of them."""
    rng = np.random.default_rng(SEED)
    train: list[tuple[float, str]] = []
    heldout: list[tuple[float, str]] = []
    for number, category in enumerate(CATEGORIES):
        for prompts, into in zip(split_category(category, rng), (train, heldout), strict=True):
            into += [((place + 0.5) / len(prompts) + number * 1e-6, prompt) for place, prompt in enumerate(prompts)]
    texts = [[prompt for _, prompt in sorted(part)] for part in (train, heldout)]
    check_disjoint(*texts)
    SHIPPED.mkdir(parents=True, exist_ok=True)
    for name, prompts in zip(("shapes-train", "shapes-heldout"), texts, strict=True):
        (SHIPPED / f"{name}.txt").write_text("\n".join(prompts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_prompt_sets()
