"""Runs as plain values: read models in; the list, the details of one run and the difference of two out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from app.recipes import dump_values
from app.saved_models import SavedModel
from app.store.rows import CheckpointRow, EvaluationRow, EventRow, RunRow
from app.ui.table import NOTHING, Column, table
from app.ui.train_views import headline, possible_actions

ARROW = "\N{RIGHTWARDS ARROW}"
DIARY_SHOWN = 300
NO_RUNS = "No runs yet. Open the Train tab and press Start; the run appears here at once."
RUN_COLUMNS = (
    Column("Run"),
    Column("State"),
    Column("Steps", is_number=True),
    Column("Held-out score", is_number=True),
    Column("Took", is_number=True),
    Column("Started"),
)


def run_table(runs: Sequence[RunRow], chosen: int | None, now: datetime) -> dict[str, Any]:
    """The list of runs, newest first; choosing a row opens the run."""
    newest_first = sorted(runs, key=lambda run: -run.id)
    rows = [(run.id, _run_cells(run, now)) for run in newest_first]
    return table(RUN_COLUMNS, rows, empty=NO_RUNS, caption="All runs, newest first", chosen=chosen)


def _run_cells(run: RunRow, now: datetime) -> list[str]:
    return [
        run.name,
        run.state.value,
        f"{run.step + 1} of {run.num_steps}",
        score_change(run.first_score, run.last_score),
        time_taken(run, now),
        clock(run.created),
    ]


def score_change(first: float | None, last: float | None) -> str:
    """First and last held-out score, or a dash before the first examination."""
    if first is None or last is None:
        return NOTHING
    return f"{first:.2f} {ARROW} {last:.2f}"


def time_taken(run: RunRow, now: datetime) -> str:
    """The time its steps took at their present pace, which leaves out the time between a stop and a resume.

    Where no pace is known: from start to end, or to now while the run is live; a lost process has no known end.
    """
    if run.seconds_per_step is not None and run.step >= 0:
        return f"about {duration(timedelta(seconds=(run.step + 1) * run.seconds_per_step))}"
    if run.ended is not None:
        return duration(_moment(run.ended) - _moment(run.created))
    return duration(now - _moment(run.created)) if run.state.is_live else NOTHING


def duration(time: timedelta) -> str:
    """A time difference in its two largest useful units."""
    minutes, seconds = divmod(max(0, round(time.total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def clock(moment: str) -> str:
    """A stored UTC time to the minute."""
    return f"{_moment(moment):%Y-%m-%d %H:%M} UTC"


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def facts(run: RunRow, now: datetime, *, has_checkpoint: bool) -> str:
    """What there is to know of a run at a glance, one line each."""
    state = f"{run.state.value.capitalize()}." if run.state.is_live else headline(run, has_checkpoint=has_checkpoint)
    lines = [f"{run.name} (run {run.id})", state]
    steps = f"{run.step + 1} of {run.num_steps} steps, started {clock(run.created)}"
    if (taken := time_taken(run, now)) != NOTHING:
        steps += f", {taken} so far" if run.state.is_live else f", took {taken}"
    lines.append(f"{steps}.")
    if run.first_score is not None and run.last_score is not None:
        lines.append(f"Held-out score {score_change(run.first_score, run.last_score)}.")
    return "\n".join([*lines, run.message])


def can_resume(run: RunRow, runs: Iterable[RunRow]) -> bool:
    """Whether Resume can work now: the run ended early, and no other run is live."""
    other_is_live = any(other.state.is_live for other in runs)
    return "resume" in possible_actions(run, other_is_live=other_is_live)


def settings_of(run: RunRow) -> dict[str, Any]:
    """The settings a run was started with, under the name it has now."""
    return run.config | {"name": run.name}


def recipe(run: RunRow) -> dict[str, str]:
    """The run's settings as a YAML file that the lab can start from: name and text."""
    return {"name": recipe_file_name(run), "text": dump_values(settings_of(run))}


def deletion_question(run: RunRow) -> str:
    return (
        f"Delete {run.name} (run {run.id}) for good, with its {run.step + 1} steps, its pictures, labels and what was "
        "learned from them, examinations, comparisons and checkpoints? Models that were saved from it stay."
    )


def flattened(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted path, in their order."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        path = f"{prefix}{key}"
        flat |= flattened(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return flat


def config_difference(left: dict[str, Any], right: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(dotted path, left value, right value) of every setting that differs; a name is a label, not a setting."""
    ours, theirs = flattened(left), flattened(right)
    paths = [path for path in (ours | theirs) if path != "name"]
    return [
        (path, _value_text(ours, path), _value_text(theirs, path))
        for path in paths
        if (path in ours) != (path in theirs) or ours[path] != theirs[path]
    ]


def _value_text(settings: dict[str, Any], path: str) -> str:
    """A value as it reads in a form; a run older than the setting does not have it."""
    if path not in settings:
        return "not set"
    value = settings[path]
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def difference_table(run: RunRow, other: RunRow) -> dict[str, Any]:
    """The settings in which two runs differ."""
    columns = (Column("Setting"), Column(f"{run.name} (run {run.id})"), Column(f"{other.name} (run {other.id})"))
    rows = [(path, (path, left, right)) for path, left, right in config_difference(run.config, other.config)]
    return table(columns, rows, empty="Both runs have the same settings.", caption="Settings that differ")


def evaluation_table(evaluations: Sequence[EvaluationRow]) -> dict[str, Any]:
    """One row per examination, newest first: mean score, score by category, quality numbers."""
    names = dict.fromkeys(name for one in evaluations for name, _, _ in one.by_category)
    qualities = dict.fromkeys(name for one in evaluations for name, _ in one.quality)
    columns = [Column("Step", is_number=True), Column("Policy"), Column("Score", is_number=True)]
    columns += [Column(name or "no category", is_number=True) for name in names]
    columns += [Column(name.replace("_", " "), is_number=True) for name in qualities]
    rows = [
        (one.id, _evaluation_cells(one, list(names), list(qualities)))
        for one in sorted(evaluations, key=lambda one: (-one.step, -one.id))
    ]
    return table(
        columns,
        rows,
        empty="Not examined yet. The first examination comes before the first step.",
        caption="Examinations on held-out prompts",
    )


def _evaluation_cells(one: EvaluationRow, names: list[str], qualities: list[str]) -> list[str]:
    by_category = {name: f"{score:.2f}" for name, score, _ in one.by_category}
    quality = {name: f"{value:.3g}" for name, value in one.quality}
    cells = [str(one.step), one.policy, "" if one.score is None else f"{one.score:.3f}"]
    cells += [by_category.get(name, NOTHING) for name in names]
    return cells + [quality.get(name, NOTHING) for name in qualities]


def checkpoint_table(checkpoints: Iterable[CheckpointRow]) -> dict[str, Any]:
    """Checkpoints on disk, newest first."""
    columns = (Column("Step", is_number=True), Column("Size", is_number=True), Column("Saved"), Column("Folder"))
    rows = [
        (one.step, (str(one.step), size(one.num_bytes), clock(one.created), one.folder))
        for one in sorted(checkpoints, key=lambda one: -one.step)
    ]
    return table(columns, rows, empty="No checkpoint on disk.", caption="Checkpoints, folders within the lab's folder")


def saved_table(models: Iterable[SavedModel]) -> dict[str, Any]:
    """Models that were saved from the page, of all runs."""
    columns = (
        Column("Run", is_number=True),
        Column("Step", is_number=True),
        Column("What"),
        Column("Size", is_number=True),
        Column("Saved"),
        Column("Folder"),
    )
    return table(
        columns,
        [(one.folder.name, _saved_cells(one)) for one in models],
        empty="No model has been saved from here yet.",
        caption="Saved models of all runs, newest first",
    )


def _saved_cells(one: SavedModel) -> list[str]:
    numbers = [NOTHING if number is None else str(number) for number in (one.run_id, one.step)]
    num_bytes = NOTHING if one.num_bytes is None else size(one.num_bytes)
    return [*numbers, one.form.value, num_bytes, clock(one.saved) if one.saved else NOTHING, str(one.folder.absolute())]


def size(num_bytes: int) -> str:
    """Bytes in the largest unit that leaves at least one."""
    amount = float(num_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def diary_table(diary: Iterable[EventRow]) -> dict[str, Any]:
    """What happened in the run, newest first."""
    columns = (Column("Time"), Column("Step", is_number=True), Column("What"), Column("Details"))
    rows = [
        (one.id, (clock(one.created), str(one.step) if one.step >= 0 else NOTHING, one.kind, one.message))
        for one in sorted(diary, key=lambda one: -one.id)[:DIARY_SHOWN]
    ]
    return table(columns, rows, empty="Nothing has happened yet.", caption="Diary of the run, newest first")


def other_choices(runs: Iterable[RunRow], chosen: int | None) -> list[tuple[str, int]]:
    """The runs that the open one can be set beside, newest first."""
    others = sorted((run for run in runs if run.id != chosen), key=lambda run: -run.id)
    return [(f"{run.name} (run {run.id})", run.id) for run in others]


def recipe_file_name(run: RunRow) -> str:
    """A file name made of the run's name, safe on every system, never empty."""
    words = re.sub(r"[^a-z0-9]+", "-", run.name.lower()).strip("-")[:60].strip("-")
    return f"{words or 'run'}-{run.id}.yaml"
