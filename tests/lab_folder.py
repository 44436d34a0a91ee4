"""A lab's folder with a recipe of a short run on the small model, for tests that train through the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from small_run import SMALL

from app.runner import Runner
from app.settings import Settings
from app.store.reader import Reader
from app.store.writer import Writer
from dgpo_core.config import RunConfig, from_dict

TRAIN = ["a cat", "a dog", "two birds"]
HELDOUT = ["a fish", "a horse", "a cow"]
PATIENCE_SECONDS = 180


def lab_values(folder: Path, model_folder: Path, **changes: dict[str, Any]) -> dict[str, Any]:
    """The settings of a short run whose prompts lie in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, prompts in (("train", TRAIN), ("heldout", HELDOUT)):
        (folder / f"{name}.txt").write_text("\n".join(prompts))
    fixed: dict[str, dict[str, Any]] = {
        "model": {"folder": str(model_folder)},
        "prompts": {"train": str(folder / "train.txt"), "heldout": str(folder / "heldout.txt")},
        "schedule": {"num_steps": 2, "checkpoint_every": 1, "checkpoints_kept": 3},
    }
    return {
        section: SMALL.get(section, {}) | fixed.get(section, {}) | changes.get(section, {})
        for section in SMALL | fixed | changes
    }


def lab_config(folder: Path, model_folder: Path, **changes: dict[str, Any]) -> RunConfig:
    """The same, checked."""
    return from_dict(lab_values(folder, model_folder, **changes))


def write_recipe(folder: Path, model_folder: Path, **changes: dict[str, Any]) -> Path:
    """The same as a recipe's file."""
    path = folder / "short.yaml"
    path.write_text(yaml.safe_dump(lab_values(folder, model_folder, **changes)))
    return path


def wait_for(is_so: Callable[[], bool]) -> None:
    """Returns once it is so; fails after PATIENCE_SECONDS."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def is_training(reader: Reader, run_id: int) -> Callable[[], bool]:
    """Whether the run has done a step, to be waited for."""
    return lambda: reader.latest_step(run_id) is not None


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Runner, Reader]]:
    """A runner on a lab's folder with its own reader and writer, as another process would have."""
    settings = Settings(folder=folder)
    with Writer(settings.database) as writer:
        reader = Reader(settings.database)
        runner = Runner(settings, reader, writer)
        try:
            yield runner, reader
        finally:
            runner.close()
            reader.close()
