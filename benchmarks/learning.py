"""What a run learns in a given time: held-out strict score and quality after each mark, seed by seed.

    python -m benchmarks.learning shapes --seeds 0 1 2 --minutes 10 60 [--set loss.preference_beta=100]

Time is that of the steps; examinations, which only watch, are not counted. Each mark is a stop and
a resume; a measurement that was cut short goes on from its last checkpoint. Kept as results/learning-<label>.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.__main__ import configured
from benchmarks.base_profile import SEEDS, category_scores, over_seeds
from benchmarks.record import keep, kept
from dgpo_core.assembly import assemble
from dgpo_core.checkpoint import newest_checkpoint, step_of
from dgpo_core.comparison import averaged_weights
from dgpo_core.config import RunConfig, from_dict, to_dict
from dgpo_core.ema import WeightCopy
from dgpo_core.events import CheckpointSaved, Command, Event, StepDone, Stop
from dgpo_core.trainer import Parts, train


class TimedRun:
    """One seed's run, trained from mark to mark."""

    def __init__(self, config: RunConfig, folder: Path) -> None:
        self._config, self._folder = config, folder
        self._progress_file = folder / "seconds-at-checkpoints.json"
        folder.mkdir(parents=True, exist_ok=True)
        newest = newest_checkpoint(folder / "checkpoints")
        self._steps = step_of(newest) if newest else 0
        self._seconds = self._known_seconds()[str(self._steps)] if newest else 0.0
        self._parts: Parts | None = None

    def _known_seconds(self) -> dict[str, float]:
        return json.loads(self._progress_file.read_text()) if self._progress_file.exists() else {}

    def until(self, minutes: float) -> dict[str, Any]:
        """Trains up to the mark and examines on all held-out prompts at three seeds."""
        self._parts = self._parts or assemble(self._config, self._folder / "checkpoints")
        train(
            self._config,
            self._parts,
            emit=self._hear,
            next_command=lambda: self._command(minutes),
            resume_from=newest_checkpoint(self._folder / "checkpoints"),
        )
        weights = averaged_weights(self._folder / "checkpoints", self._steps, self._parts.model)
        return self._examined(self._parts, weights) | {"steps": self._steps, "minutes": self._seconds / 60}

    def _hear(self, event: Event) -> None:
        if isinstance(event, CheckpointSaved):
            self._progress_file.write_text(json.dumps(self._known_seconds() | {str(event.step): self._seconds}))
        elif isinstance(event, StepDone):
            self._seconds += event.metrics.step_seconds
            self._steps = event.step + 1
            if self._steps % 10 == 0:
                print(
                    f"seed {self._config.seed} step {self._steps} minutes {self._seconds / 60:.1f} "
                    f"reward {event.metrics.reward_mean:.3f} gate {event.metrics.gate:.2f} "
                    f"clipped {event.metrics.clipped_fraction:.2f} kl {event.metrics.kl:.4f} "
                    f"step seconds {event.metrics.step_seconds:.1f} {time.strftime('%H:%M')}",
                    flush=True,
                )

    def _command(self, minutes: float) -> Command | None:
        return Stop() if self._seconds >= 60 * minutes else None

    @staticmethod
    def _examined(parts: Parts, weights: WeightCopy | None) -> dict[str, Any]:
        done = [parts.examiner.examine(parts.heldout_prompts, seed=seed, step=0, weights=weights) for seed in SEEDS]
        return {
            "scores": over_seeds([category_scores(one) for one in done]),
            "quality": over_seeds([dict(one.quality) for one in done]),
        }

    def base(self) -> dict[str, Any]:
        """The examination of the base, for the difference."""
        self._parts = self._parts or assemble(self._config, self._folder / "checkpoints")
        return self._examined(self._parts, None)


def measure(config: RunConfig, seeds: Sequence[int], minutes: Sequence[float], label: str, work: Path) -> None:
    """Every seed at every mark; what is known already is not measured again, and the base only once."""
    result = kept(f"learning-{label}") or {"config": to_dict(config), "runs": {}}
    if from_dict(result["config"]) != config:  # settings that came since are at their defaults
        raise SystemExit(f"The label {label!r} is taken by other settings. Give this measurement another --label.")
    base = next((marks["base"] for marks in result["runs"].values()), None)
    for seed in seeds:
        run = TimedRun(replace(config, seed=seed), work / label / f"seed-{seed}")
        marks = result["runs"].setdefault(str(seed), {})
        base = marks["base"] = base or run.base()
        for mark in sorted(minutes):
            if f"{mark:g}" not in marks:
                marks[f"{mark:g}"] = run.until(mark)
                overall = {name: round(one["mean"], 3) for name, one in marks[f"{mark:g}"]["scores"].items()}
                print(f"seed {seed} after {mark:g} minutes: {overall}", flush=True)
            keep(f"learning-{label}", {"config": result["config"], "runs": result["runs"]})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--minutes", type=float, nargs="+", default=[10.0])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--label", default="shapes")
    parser.add_argument("--work", type=Path, default=Path("work/learning"))
    arguments = parser.parse_args()
    changes = ["schedule.num_steps=100000", "schedule.evaluate_every=0", "schedule.evaluation_prompts=1"]
    run_config = configured(arguments.recipe, [*changes, *arguments.set])
    measure(run_config, arguments.seeds, arguments.minutes, arguments.label, arguments.work)
