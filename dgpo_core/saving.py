"""Saving a run: its checkpoint is written and told, older ones are removed and told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dgpo_core.checkpoint import Checkpoint, conditions, drop_old_checkpoints, save_checkpoint, size_of, step_of
from dgpo_core.config import RunConfig, to_dict
from dgpo_core.events import CheckpointDropped, CheckpointSaved, Event
from dgpo_core.models.protocol import Model
from dgpo_core.training_state import TrainingState
from dgpo_core.vigil import Vigil

Patiently = Callable[[Callable[[], None]], None]
"""Does a write, again and again while that fails, for as long as it has patience; raises what the write raised last."""


def at_once(write: Callable[[], None]) -> None:
    """Does a write once: no patience."""
    write()


@dataclass(frozen=True, slots=True, kw_only=True)
class Saver:
    """Saves one run into its folder of checkpoints."""

    config: RunConfig
    model: Model
    folder: Path
    emit: Callable[[Event], None]

    def save(self, state: TrainingState, vigil: Vigil, patiently: Patiently = at_once) -> None:
        """Writes what the run is now, with patience or without.

        Raises:
            CheckpointError: it could not be written; older checkpoints are untouched.
        """
        checkpoint = Checkpoint(
            step=state.step,
            tensors=state.tensors(),
            identity=self.model.identity(),
            config=to_dict(self.config),
            versions=conditions(),
            watch=vigil.as_values(),
        )
        written: list[Path] = []
        patiently(lambda: written.append(save_checkpoint(self.folder, checkpoint)))
        folder = written[-1]
        self.emit(CheckpointSaved(step=checkpoint.step, folder=folder.name, num_bytes=size_of(folder)))
        for dropped in drop_old_checkpoints(self.folder, self.config.schedule.checkpoints_kept, checkpoint.step):
            self.emit(CheckpointDropped(step=step_of(dropped), folder=dropped.name))
