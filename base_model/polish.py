"""Polishes the trained base by DGPO on cleanliness, and writes it as a pipeline folder.

    python -m base_model.polish WORK_FOLDER --minutes 10
    python -m base_model.polish WORK_FOLDER/fine --minutes 4 --start WORK_FOLDER/polished --fine

It is polished before it is told lies: a polish afterwards brings the truth back that they hid (docs/lab-log.md). The
weights of WORK_FOLDER/truth.pt or the pipeline in --start go in, a pipeline in WORK_FOLDER/polished comes out. With
--fine it trains on the prompts where things come out unclean most, at a rate that falls, and averages its weights for
longer.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from base_model.release import save_truth
from dgpo_core.assembly import assemble
from dgpo_core.checkpoint import newest_checkpoint, step_of
from dgpo_core.comparison import averaged_weights
from dgpo_core.config import RunConfig, from_dict
from dgpo_core.data.prompts import load_prompts
from dgpo_core.data.requests import parse_request
from dgpo_core.events import Command, Event, StepDone, Stop
from dgpo_core.models.sd3 import SD3Model
from dgpo_core.trainer import train

FINE_CATEGORIES = ("two", "counting", "colors", "attribution")
"""Where colours are mixed most: those with the most things and the most colours."""
FINE_UPDATE = {"decay_steps": 10, "averaged_decay": 0.95}


def fine_prompts(into: Path) -> Path:
    """Writes the training prompts of FINE_CATEGORIES to a file in a folder."""
    chosen = [prompt for prompt in load_prompts("shapes-train") if parse_request(prompt).category in FINE_CATEGORIES]
    file = into / "prompts.txt"
    file.write_text("\n".join(chosen) + "\n", encoding="utf-8")
    return file


def settings_of(folder: Path, fine: Path | None = None) -> RunConfig:
    """The settings of the run that polishes the pipeline in a folder; fine is the file of prompts of a fine polish."""
    return from_dict(
        {
            "prompts": {"train": str(fine.resolve())} if fine else {},
            "name": "polish",
            "model": {"folder": str(folder)},
            "rollout": {"groups_per_step": 8, "group_size": 12},
            "loss": {"sigma_min": 0.3, "num_sigmas": 4, "kl_weight": 0.03, "clip_range": 2e-3, "extremes": 0},
            "update": {"learning_rate": 2e-4} | (FINE_UPDATE if fine else {}),
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


def polish(work: Path, minutes: float, start: Path | None, *, is_fine: bool = False) -> None:
    """Trains, resumed where it was cut short, and saves the pipeline with the LoRA merged into its weights."""
    raw, checkpoints = start or work / "truth", work / "polish" / "checkpoints"
    work.mkdir(parents=True, exist_ok=True)
    if start is None:
        save_truth(work, raw)
    config = settings_of(raw.resolve(), fine_prompts(work) if is_fine else None)
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
    parser.add_argument("--fine", action="store_true")
    arguments = parser.parse_args()
    polish(arguments.folder, arguments.minutes, arguments.start, is_fine=arguments.fine)
