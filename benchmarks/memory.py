"""Time and memory of a step of the lab's recipe for Stable Diffusion 3.5 Medium at 512 pixels, beside the estimate.

    python -m benchmarks.memory [--recipe sd35m-pickscore-mode-1] [--set KEY=VALUE ...]
    python -m benchmarks.memory --set model.quantization=4bit     # needs the package bitsandbytes

The network has its real size and random weights, which the lab loads from a folder as it would real ones; the reward is
the mean brightness, as real ones need weights too. Needs a CUDA GPU. Kept as results/memory.json, quantized as
results/memory-4bit.json.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from app.__main__ import configured
from benchmarks.record import keep
from benchmarks.sd35_medium import random_pipeline, save_configurations
from dgpo_core.assembly import assemble
from dgpo_core.config import RunConfig
from dgpo_core.errors import LabError
from dgpo_core.events import Event, StepDone, Warned
from dgpo_core.models.memory import PARTS, Memory, memory_of, numel
from dgpo_core.models.sd3 import SD3Model
from dgpo_core.trainer import train

NO_GPU = (
    "This measurement needs a CUDA GPU of about 16 GB or more, and torch finds none here, so nothing was measured or "
    "written. Run it on a machine that has one, with torch's CUDA build."
)
FIXED = ("reward.train=brightness", "reward.evaluation=brightness", "reward.watch=''", "schedule.evaluation_prompts=1")
STEPS = 2
"""Adam's moments, and the copy of them that a stop goes back to, are there from the second step on."""


def settings(recipe: str, changes: Sequence[str]) -> RunConfig:
    """The recipe with changes, for two steps, and a reward and an examination that need no weights and little time."""
    return configured(recipe, [*FIXED, f"schedule.num_steps={STEPS}", "schedule.evaluate_every=0", *changes])


def expected(config: RunConfig) -> Memory:
    """What the lab foretells, from configurations alone."""
    with tempfile.TemporaryDirectory() as folder:
        return memory_of(config, save_configurations(Path(folder)), torch.bfloat16)


def loaded(config: RunConfig) -> tuple[SD3Model, int]:
    """The model as a run loads it, from where on the peak counts, and how many numbers its network has."""
    with tempfile.TemporaryDirectory() as folder:
        pipeline = random_pipeline("cuda", torch.bfloat16)
        numbers = numel(pipeline.transformer)
        pipeline.save_pretrained(folder)
        del pipeline
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return SD3Model.from_folder(Path(folder), config.model, seed=config.seed, device="cuda"), numbers


def measure(config: RunConfig) -> dict[str, Any]:
    """Seconds of the last of STEPS steps, and the most memory of the whole run."""
    foretold, (model, numbers) = expected(config), loaded(config)
    steps, warnings = [], []

    def hear(event: Event) -> None:
        if isinstance(event, StepDone):
            steps.append(event.metrics)
        if isinstance(event, Warned):
            warnings.append(event.message)

    with tempfile.TemporaryDirectory() as folder:
        train(config, assemble(config, Path(folder), model=model), emit=hear, next_command=lambda: None)
    last = steps[-1]
    seconds = {
        "step": last.step_seconds,
        "sampling": last.sampling_seconds,
        "decoding": last.decoding_seconds,
        "updating": last.updating_seconds,
    }
    taken = {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}
    return row(config, foretold, taken, seconds) | {
        "card": torch.cuda.get_device_name(),
        "numbers": numbers,
        "warnings": warnings,
    }


def row(config: RunConfig, foretold: Memory, taken: dict[str, int], seconds: dict[str, float]) -> dict[str, Any]:
    """The result as it is kept: bytes and seconds, and how far the estimate is off, as a share of what was taken."""
    return {
        "recipe": config.name,
        "picture_side": config.model.picture_side,
        "pictures_per_step": config.rollout.groups_per_step * config.rollout.group_size,
        "micro_batch": config.update.micro_batch,
        "quantization": config.model.quantization,
        "expected": {name: getattr(foretold, name) for name in PARTS},
        "expected_peak": foretold.peak,
        "taken": taken,
        "error": foretold.peak / taken["allocated"] - 1,
        "seconds": seconds,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and keeps the result; 2, and one sentence, where that cannot be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="sd35m-pickscore-mode-1")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print(NO_GPU, file=sys.stderr)
        return 2
    try:
        found = measure(settings(options.recipe, options.set))
    except LabError as error:
        print(error, file=sys.stderr)
        return 2
    kind = "" if found["quantization"] == "none" else f"-{found['quantization']}"
    print(keep(f"memory{kind}", found).read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
