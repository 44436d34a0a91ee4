"""Runs of a race as the store gives them."""

from app.store.rows import RaceRunRow, RunState


def run(entrant, seed=0, *, examined=(), rate=1e-4, is_tuning=False, state=RunState.STOPPED, message=""):
    return RaceRunRow(
        run_id=1,
        entrant=entrant,
        learning_rate=rate,
        seed=seed,
        is_tuning=is_tuning,
        state=state,
        message=message,
        points=examined,
    )
