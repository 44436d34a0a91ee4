"""What a run learns in a given time: held-out strict score and quality after each mark, seed by seed.

    python -m benchmarks.learning shapes --seeds 0 1 2 --minutes 10 60 [--set loss.preference_beta=100]

Time is that of the steps; examinations, which only watch, are not counted. Each mark is a stop and
a resume; a measurement that was cut short goes on from its last checkpoint. Marks are reached in rising order: one
before what was trained already is measured only if its checkpoint is left. Kept as results/learning-<label>.json.
With --trained, runs of that label are examined otherwise: --label 16-steps --trained shapes --minutes 20 --set
schedule.evaluation_sampling_steps=16.
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
from benchmarks.record import keep, kept, write_whole
from dgpo_core.assembly import assemble
from dgpo_core.checkpoint import checkpoint_folders, find_damage, newest_checkpoint, step_of
from dgpo_core.comparison import averaged_weights
from dgpo_core.config import RunConfig, from_dict, to_dict
from dgpo_core.ema import WeightCopy
from dgpo_core.events import Command, Event, StepDone, Stop
from dgpo_core.trainer import Parts, train

CHECKPOINTS, CONFIG, SECONDS = "checkpoints", "config.json", "seconds-at-steps.json"
"""What lies in the work folder of a seed."""


def as_trained(config: RunConfig) -> RunConfig:
    """The settings without how many sampling steps its examinations take, which training knows nothing of."""
    return replace(config, schedule=replace(config.schedule, evaluation_sampling_steps=0))


def claim(folder: Path, config: RunConfig) -> None:
    """Makes a work folder these settings' own; one that holds their run, however it was examined, is taken up.

    Raises:
        SystemExit: what was trained there has other settings, or none that are known.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / CONFIG
    if not file.exists():
        if checkpoint_folders(folder / CHECKPOINTS):
            raise SystemExit(
                f"The work folder {folder} has checkpoints but no {CONFIG}, so nobody knows the settings they were "
                "trained with. Remove the folder, or give this measurement another --label or --work."
            )
        write_whole(file, json.dumps(to_dict(config), indent=1))
    elif as_trained(from_dict(json.loads(file.read_text(encoding="utf-8")))) != as_trained(config):
        raise SystemExit(
            f"The work folder {folder} holds a run with the settings of its {CONFIG}, which are not those given now. "
            "Remove the folder, or give this measurement another --label or --work."
        )


class TimedRun:
    """One seed's run, trained from mark to mark.

    Raises:
        SystemExit: its folder holds a run with other settings.
    """

    def __init__(self, config: RunConfig, folder: Path) -> None:
        claim(folder, config)
        self._config, self._checkpoints, self._seconds_file = config, folder / CHECKPOINTS, folder / SECONDS
        newest = newest_checkpoint(self._checkpoints)
        self._steps = step_of(newest) if newest else 0
        self._seconds = self._known_seconds()[str(self._steps)][1]
        self._parts: Parts | None = None

    def _known_seconds(self) -> dict[str, tuple[float, float]]:
        """Seconds trained before and after the last of so many steps."""
        start = {"0": (0.0, 0.0)}
        return start | json.loads(self._seconds_file.read_text()) if self._seconds_file.exists() else start

    def until(self, minutes: float) -> dict[str, Any]:
        """Trains up to the mark and examines on all held-out prompts at three seeds.

        Raises:
            SystemExit: the run is past the mark, and the checkpoint saved there is not left.
        """
        steps = self._steps_at(minutes)
        if steps is None and self._steps and self._seconds >= 60 * minutes:
            raise SystemExit(
                f"The run in {self._checkpoints.parent} cannot be measured after {minutes:g} minutes: it was trained "
                f"for {self._seconds / 60:.1f} already, and no checkpoint of that mark is left. Give later --minutes, "
                "or begin anew with another --label."
            )
        parts = self._parts = self._parts or assemble(self._config, self._checkpoints)
        if steps is None:
            train(
                self._config,
                parts,
                emit=self._hear,
                next_command=lambda: self._command(minutes),
                resume_from=newest_checkpoint(self._checkpoints),
            )
            steps = self._steps
        weights = averaged_weights(self._checkpoints, steps, parts.model)
        seconds = self._known_seconds()[str(steps)][1]
        return self._examined(parts, weights) | {"steps": steps, "minutes": seconds / 60}

    def _steps_at(self, minutes: float) -> int | None:
        """The step in which the mark was reached, where a whole checkpoint of it is left."""
        known = self._known_seconds()
        steps = (step_of(one) for one in checkpoint_folders(self._checkpoints) if not find_damage(one))
        return next((one for one in steps if known[str(one)][0] < 60 * minutes <= known[str(one)][1]), None)

    def _hear(self, event: Event) -> None:
        if isinstance(event, StepDone):
            before, self._steps = self._seconds, event.step + 1
            self._seconds += event.metrics.step_seconds
            # Told before the step's checkpoint is written, so none is ever without its time.
            known = self._known_seconds() | {str(self._steps): (before, self._seconds)}
            write_whole(self._seconds_file, json.dumps(known))
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
        self._parts = self._parts or assemble(self._config, self._checkpoints)
        return self._examined(self._parts, None)


def measure(config: RunConfig, seeds: Sequence[int], minutes: Sequence[float], label: str, work: Path) -> None:
    """Every seed at every mark, in a work folder; what is known is not measured again, and the base only once."""
    result = kept(f"learning-{label}") or {"config": to_dict(config), "runs": {}}
    if from_dict(result["config"]) != config:  # settings that came since are at their defaults
        raise SystemExit(f"The label {label!r} is taken by other settings. Give this measurement another --label.")
    base = next((marks["base"] for marks in result["runs"].values()), None)
    for seed in seeds:
        run = TimedRun(replace(config, seed=seed), work / f"seed-{seed}")
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
    parser.add_argument("--trained", metavar="LABEL", help="examine the runs of this label; its own, if not given")
    parser.add_argument("--work", type=Path, default=Path("work/learning"))
    arguments = parser.parse_args()
    changes = ["schedule.num_steps=100000", "schedule.evaluate_every=0", "schedule.evaluation_prompts=1"]
    run_config = configured(arguments.recipe, [*changes, *arguments.set])
    folder = arguments.work / (arguments.trained or arguments.label)
    measure(run_config, arguments.seeds, arguments.minutes, arguments.label, folder)
