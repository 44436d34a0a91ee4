"""A lab's folder with a recipe of a short run on the small model, for tests that train through the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from small_run import SMALL

from dgpo_core.config import RunConfig, from_dict

TRAIN = ["a cat", "a dog", "two birds"]
HELDOUT = ["a fish", "a horse", "a cow"]


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
