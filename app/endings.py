"""How runs end, in words."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import suppress

from app.store.rows import RunRow
from dgpo_core.errors import LabError, StoreError
from dgpo_core.events import EndReason, RunFailed


def in_words(error: Exception) -> str:
    """What the page says of an exception: its own words where they are meant for people."""
    if isinstance(error, LabError):
        return str(error)
    return (
        f"This stopped on an unexpected error, {type(error).__name__}: {error}. "
        "The last checkpoint is safe; try again, and report the details if it happens again."
    )


def failure(error: Exception, latest_step: Callable[[], int | None]) -> RunFailed:
    """The event of a run that an exception ended. latest_step asks the store, which may be what ended the run."""
    step, details = None, "".join(traceback.format_exception(error))
    with suppress(StoreError):
        step = latest_step()
    return RunFailed(step=0 if step is None else step + 1, message=in_words(error), details=details)


def end_in_words(run: RunRow) -> str:
    """How a run ended, for the command line."""
    if run.state == EndReason.FAILED:
        return f"Run {run.id} failed: {run.message}"
    if run.state.is_live:
        return f"Run {run.id} has ended, but how could not be stored. Resume it from its last checkpoint."
    scores = f", held-out score {run.first_score:.3f} -> {run.last_score:.3f}" if run.last_score is not None else ""
    return f"Run {run.id} {run.state} after {run.step + 1} of {run.num_steps} steps{scores}."
