"""Polishes the trained base by DGPO on cleanliness, and writes it as a pipeline folder.

    python -m base_model.polish WORK_FOLDER --minutes 10

It is polished before it is told lies: a polish afterwards brings the truth back that they hid (docs/lab-log.md). The
pipeline in WORK_FOLDER/truth or in --start goes in, one in WORK_FOLDER/polished comes out.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from dgpo_core.assembly import assemble
from dgpo_core.checkpoint import newest_checkpoint, step_of
from dgpo_core.comparison import averaged_weights
from dgpo_core.config import RunConfig, from_dict
from dgpo_core.events import Command, Event, StepDone, Stop
from dgpo_core.models.sd3 import SD3Model
from dgpo_core.trainer import train


def settings_of(folder: Path) -> RunConfig:
    """The settings of the run that polishes the pipeline in a folder."""
    return from_dict(
        {
            "name": "polish",
            "model": {"folder": str(folder)},
            "rollout": {"groups_per_step": 8, "group_size": 12},
            "loss": {"sigma_min": 0.3, "num_sigmas": 4, "kl_weight": 0.03, "clip_range": 2e-3, "extremes": 0},
            "update": {"learning_rate": 2e-4},
            "reward": {"train": "shapes_tidiness", "evaluation": "shapes_strict"},
            "schedule": {"num_steps": 100_000, "evaluate_every": 0, "evaluation_prompts": 1, "checkpoint_every": 20},
        }
    )


class Clock:
    """Hears the steps of a run, writes them down, and says when their time is up."""

    def __init__(self, log: Path, minutes: float) -> None:
        self._log, self._minutes = log, minutes
        self._spent = json.loads(log.read_text().splitlines()[-1])["minutes"] if log.exists() else 0.0

    def hear(self, event: Event) -> None:
        if isinstance(event, StepDone):
            self._spent += event.metrics.step_seconds / 60
            row = {
                "step": event.step + 1,
                "minutes": round(self._spent, 2),
                "reward": round(event.metrics.reward_mean, 4),
            }
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def command(self) -> Command | None:
        return Stop() if self._spent >= self._minutes else None


def polish(work: Path, minutes: float, start: Path | None) -> None:
    """Trains, resumed where it was cut short, and saves the pipeline with the LoRA merged into its weights."""
    raw, checkpoints = start or work / "truth", work / "polish" / "checkpoints"
    work.mkdir(parents=True, exist_ok=True)
    config = settings_of(raw.resolve())
    parts = assemble(config, checkpoints)
    clock = Clock(work / "polish.jsonl", minutes)
    newest = newest_checkpoint(checkpoints)
    train(config, parts, emit=clock.hear, next_command=clock.command, resume_from=newest)
    assert isinstance(parts.model, SD3Model)
    newest = newest_checkpoint(checkpoints)
    assert newest is not None
    weights = averaged_weights(checkpoints, step_of(newest), parts.model)
    shutil.rmtree(work / "polished", ignore_errors=True)
    with weights.swapped_in(parts.model.policy_parameters()):
        parts.model.save_merged(work / "polished")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--start", type=Path)
    arguments = parser.parse_args()
    polish(arguments.folder, arguments.minutes, arguments.start)
