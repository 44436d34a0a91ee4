"""The run that something is to be taken out of."""

from __future__ import annotations

from app.store.reader import Reader
from app.store.rows import RunRow
from dgpo_core.errors import ExchangeError


def known_run(reader: Reader, run_id: int) -> RunRow:
    """The run of that number; raises ExchangeError, naming those there are, where there is none."""
    if (run := reader.run(run_id)) is None:
        known = ", ".join(map(str, sorted(one.id for one in reader.runs())))
        raise ExchangeError(f"There is no run {run_id}. Known: {known or 'none'}.")
    return run


def without_groups(run_id: int) -> ExchangeError:
    """What is said of a run that there is nothing to take out of."""
    return ExchangeError(f"Run {run_id} has drawn no groups yet. Train it first.")
