"""A race as plain values: the choices, the standings and the grid of learning rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.race.plan import RacePlan
from app.race.report import CAPTION, quality_rows, remarks, rows_of, tuning_rows
from app.race.result import RaceResult
from app.store.rows import RaceRow, RaceRunRow
from app.ui.charts import MAX_RUNS
from app.ui.runs_views import clock
from app.ui.table import Column, table

NO_RACE = (
    "No race yet. A race runs DGPO and its rivals from the same start, in turns, and measures how long each takes to "
    "the same score. Start one above, or in a terminal with: .venv/bin/python -m app race shapes"
)
TUNING = "tuning"
NUM_TEXT_COLUMNS = 1


def race_choices(races: Sequence[RaceRow]) -> list[tuple[str, int]]:
    """Labels and ids, newest first."""
    return [(f"{race.name} (race {race.id}, {clock(race.created)})", race.id) for race in races]


def curve_choices(runs: Sequence[RaceRunRow]) -> list[tuple[str, str]]:
    """What may be drawn at once: one seed's entrants, or one entrant's learning rates."""
    seeds = dict.fromkeys(run.seed for run in runs if not run.is_tuning)
    tuned = dict.fromkeys(run.entrant for run in runs if run.is_tuning)
    return [
        *((f"seed {seed}, all entrants", f"seed {seed}") for seed in seeds),
        *((f"learning rates of {entrant}", f"{TUNING} {entrant}") for entrant in tuned),
    ]


def runs_to_draw(runs: Sequence[RaceRunRow], choice: str) -> list[int]:
    """Ids of the runs that a choice of curve_choices stands for."""
    return [
        run.run_id for run in runs if choice == (f"{TUNING} {run.entrant}" if run.is_tuning else f"seed {run.seed}")
    ]


def not_drawn(ids: Sequence[int]) -> str:
    """What to say where more runs were chosen than are drawn at once; empty where all are drawn."""
    if len(ids) <= MAX_RUNS:
        return ""
    return (
        f"Drawn are the first {MAX_RUNS} of these {len(ids)} runs: the curves of more could not be told apart. "
        "The standings count every run."
    )


def heading(race: RaceRow, plan: RacePlan, result: RaceResult) -> str:
    """What the race is, how it stands, and what its numbers mean, one line each."""
    state = "over" if race.ended else "not over: Start above, or the command that began it, goes on with it"
    rules = plan.rules
    limit = f" or {rules.pictures} pictures" if rules.pictures else ""
    entrants = "one entrant" if len(plan.entrants) == 1 else f"{len(plan.entrants)} entrants"
    seeds = "one seed" if len(plan.seeds) == 1 else f"{len(plan.seeds)} seeds"
    first = (
        f"{race.name}: {entrants}, {seeds}, {rules.minutes:g} min{limit} each, "
        f"examined on {rules.examined_prompts} held-out prompts every {rules.turn_minutes:g} min. It is {state}."
    )
    return "\n".join([first, *remarks(plan, result)])


def standings_table(result: RaceResult) -> dict[str, Any]:
    """One row per entrant."""
    return _table(rows_of(result), "No entrant has been examined yet.", CAPTION)


def quality_table(result: RaceResult) -> dict[str, Any]:
    """One row per entrant, one column per quality."""
    caption = "Quality at the end, never trained on: mean ± standard deviation over seeds"
    return _table(quality_rows(result), "No quality was measured.", caption)


def tuning_table(result: RaceResult) -> dict[str, Any]:
    """One row per entrant and learning rate."""
    return _table(
        tuning_rows(result),
        "This race tries no learning rates.",
        "Learning rates tried, and their score",
    )


def _table(rows: Sequence[Sequence[str]], empty: str, caption: str) -> dict[str, Any]:
    columns = [Column(label, is_number=index >= NUM_TEXT_COLUMNS) for index, label in enumerate(rows[0])]
    return table(columns, list(enumerate(rows[1:])), empty=empty, caption=caption)
