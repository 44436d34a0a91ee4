"""Stored groups instead of a rollout: offline training on what was drawn, and judged, before.

Groups of a step have one number of pictures. Where stored ones differ, as people's own do, each step recalls groups of
one size, so that no picture is made up to fill a group.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from dgpo_core.data.stored_groups import StoredGroup
from dgpo_core.models.protocol import Model
from dgpo_core.rewards.contract import Judgement
from dgpo_core.rollout import Rollout, of_step
from dgpo_core.seeds import generator_for


def groups_of_step(stored: Sequence[StoredGroup], *, count: int, run_seed: int, step: int) -> tuple[StoredGroup, ...]:
    """At most count groups of one size, a pure function of its arguments.

    Groups of different sizes are gone through once in each round: those of a size in a new order, in steps as even as
    whole groups can be, and the steps of all sizes mixed.
    """
    by_size = [[one for one in stored if len(one.samples) == size] for size in sorted({len(g.samples) for g in stored})]
    if len(by_size) == 1:
        return of_step(stored, step=step, count=count, run_seed=run_seed)
    num_parts = [-(-len(groups) // count) for groups in by_size]
    lap, place = divmod(step, sum(num_parts))
    parts = [
        part
        for size, (groups, num) in enumerate(zip(by_size, num_parts, strict=True))
        for part in _order(len(groups), run_seed, "stored groups", lap, size).tensor_split(num)
    ]
    owners = [groups for groups, num in zip(by_size, num_parts, strict=True) for _ in range(num)]
    chosen = int(_order(len(parts), run_seed, "stored steps", lap)[place])
    return tuple(owners[chosen][index] for index in parts[chosen].tolist())


def _order(count: int, run_seed: int, purpose: str, *parts: int) -> torch.Tensor:
    return torch.randperm(count, generator=generator_for(run_seed, purpose, *parts))


def recall_groups(model: Model, stored: Sequence[StoredGroup], *, count: int, run_seed: int, step: int) -> Rollout:
    """The stored groups of a step, in a new order each time round, encoded to latents, with their own rewards.

    They are count, or fewer where groups differ in size. sampling_seconds is the time to encode, decoding_seconds that
    to read the pictures.

    Raises:
        PromptError: a picture cannot be read any more.
    """
    groups = groups_of_step(stored, count=count, run_seed=run_seed, step=step)
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
