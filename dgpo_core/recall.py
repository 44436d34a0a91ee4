"""Stored groups instead of a rollout: offline training on what was drawn, and judged, before."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from dgpo_core.data.stored_groups import StoredGroup
from dgpo_core.models.protocol import Model
from dgpo_core.rewards.contract import Judgement
from dgpo_core.rollout import Rollout, of_step


def recall_groups(model: Model, stored: Sequence[StoredGroup], *, count: int, run_seed: int, step: int) -> Rollout:
    """The stored groups of a step, in a new order each time round, encoded to latents, with their own rewards.

    sampling_seconds is the time to encode, decoding_seconds that to read the pictures.

    Raises:
        PromptError: a picture cannot be read any more.
    """
    groups = of_step(stored, step=step, count=count, run_seed=run_seed)
    samples = [sample for group in groups for sample in group.samples]
    started = time.monotonic()
    pictures = [picture for group in groups for picture in group.pictures(model.picture_size)]
    read = time.monotonic()
    clean = model.encode_pictures(pictures)
    return Rollout(
        prompts=tuple(group.prompt for group in groups),
        conditioning=model.encode([group.prompt for group in groups]),
        clean=clean,
        group=torch.arange(len(groups)).repeat_interleave(len(groups[0].samples)),
        pictures=pictures,
        seeds=tuple(sample.seed for sample in samples),
        sampling_seconds=time.monotonic() - read,
        decoding_seconds=read - started,
        judgements=tuple(Judgement(sample.reward) for sample in samples),
    )
