"""Before and after of a run that is not live: its model is loaded, and drawn with again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from app.exchange.stored_run import with_groups_at_hand
from app.people import people_of
from app.store.reader import Reader
from app.store.rows import RunRow
from dgpo_core.assembly import assemble
from dgpo_core.checkpoint import newest_checkpoint, step_of
from dgpo_core.comparison import averaged_weights, compare
from dgpo_core.config import from_dict
from dgpo_core.errors import CheckpointError
from dgpo_core.events import Compare, ComparisonDone
from dgpo_core.halving import halved_until_it_fits


def compared(
    run: RunRow, request: Compare, reader: Reader, folder: Path, checkpoints: Path, *, look: Callable[[], None]
) -> ComparisonDone:
    """The base against a checkpoint of the run, the newest where none is named, as the request asks.

    folder is where relative names begin; look is called again and again and may raise to stop.

    Raises:
        LabError: there is no checkpoint, or what the run is made of cannot be used any more.
    """
    newest = newest_checkpoint(checkpoints)
    if newest is None:
        raise CheckpointError(f"Run {run.id} has no checkpoint to compare. Resume it, or start another run.")
    step = step_of(newest) if request.step is None else request.step
    config = with_groups_at_hand(from_dict(run.config), reader, checkpoints.parent)
    parts = assemble(config, checkpoints, folder=folder, people=people_of(reader, run.id))
    weights = averaged_weights(checkpoints, step, parts.model)

    def on_step(index: int, total: int) -> None:
        look()

    def drawn(batch: int) -> ComparisonDone:
        examiner = replace(parts.examiner, batch=batch, look=look)
        return compare(examiner, parts.heldout_prompts, request, weights=weights, step=step, on_step=on_step)

    return halved_until_it_fits(drawn, parts.examiner.batch)
