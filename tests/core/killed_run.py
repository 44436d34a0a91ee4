"""Trains on the small model and kills itself, once for every place named: a real SIGKILL of a real process.

    python killed_run.py MODEL_FOLDER OUTPUT PLACE...

A place is question:N, the N-th time the trainer asks for a command, or an operation such as fsync:N or
replace:N, just before it is done for the N-th time. Every place gets a process of its own and a folder OUTPUT/PLACE.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from small_run import run, small_config, small_parts

from dgpo_core.models.sd3 import SD3Model

SCHEDULE = {"num_steps": 6, "checkpoint_every": 1, "checkpoints_kept": 2}


class Killer:
    """Kills this process at the n-th call of count."""

    def __init__(self, number: int) -> None:
        self._left = number

    def count(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        """The operation, counted before it is done."""

        def counted(*arguments: Any, **options: Any) -> Any:
            self.count()
            return operation(*arguments, **options)

        return counted


def train_until_killed(model: SD3Model, folder: Path, place: str) -> None:
    """One run that does not come back."""
    kind, number = place.split(":")
    killer = Killer(int(number))
    if kind != "question":
        setattr(os, kind, killer.before(getattr(os, kind)))
    config = small_config(schedule=SCHEDULE)
    asked = killer.count if kind == "question" else (lambda: None)
    run(config, small_parts(model, folder, config), next_command=asked)


def main(model_folder: str, output: str, *places: str) -> None:
    torch.set_num_threads(1)
    model = SD3Model.load(Path(model_folder), lora_rank=4, lora_alpha=8, seed=0)
    for place in places:
        child = os.fork()
        if child == 0:
            train_until_killed(model, Path(output) / place, place)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            sys.exit(f"the run at {place} was not killed but ended with {status}")


if __name__ == "__main__":
    main(*sys.argv[1:])
