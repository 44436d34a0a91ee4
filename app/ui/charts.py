"""Live curves: what is drawn, which rows travel, and the panel that shows them.

One panel draws small charts that share their x axis (steps, minutes of training, pictures, network evaluations)
and keep their zoom while new rows arrive. On the Train tab it follows the shown run; with a `value` it overlays
the runs whose ids are listed there:

    curves_panel(live, topic="curves", charts=RUN_CHARTS)             # follows the shown run
    chosen = curves_panel(live, topic="overlay", charts=RUN_CHARTS, value=[3, 5])
    picker.change(lambda ids: ids, picker, chosen)                    # a list of ids is the component's value

With one run a chart's lines differ by colour and the spread is a band; with several the runs differ
by colour (and dash), lines of one chart by dash, and a chart draws only its `overlay` columns if it names any.
Columns of steps are the fields of StepMetrics; `by_key` draws one chart for each key of an examination's
quality, `by_category` one line for each category of its scores.

`curve_update` is pure: (reader, runs, cursors of the browser) to plain JSON values, new rows only.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any, Literal

import gradio as gr

from app.store.reader import Reader
from app.store.rows import EvaluationRow, RunRow, StepRow
from app.ui.live import Live, whole_number
from dgpo_core.events import StepMetrics

MAX_POINTS = 500
MAX_RUNS = 36
"""As many as look() in figures.js can tell apart: six colours with six dashes."""
STEP_COLUMNS = tuple(one.name for one in fields(StepMetrics))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One small chart. lines are (column, name in the legend); spread is the column of the band around the first."""

    key: str
    title: str
    help: str
    kind: Literal["lines", "stack", "score", "by_category", "by_key"] = "lines"
    lines: tuple[tuple[str, str], ...] = ()
    spread: str | None = None
    overlay: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None


RUN_CHARTS = (
    Chart(
        key="score",
        title="Held-out score",
        help="Mean verdict on prompts that are never trained on. This is the curve to believe.",
        kind="score",
        low=0,
        high=1,
    ),
    Chart(
        key="reward",
        title="Reward of the groups",
        help="Mean reward of the pictures of a step; the band is one standard deviation.",
        lines=(("reward_mean", "mean"),),
        spread="reward_std",
    ),
    Chart(
        key="categories",
        title="Held-out score by category",
        help="The same examination, one line for each kind of prompt.",
        kind="by_category",
        low=0,
        high=1,
    ),
    Chart(
        key="quality",
        title="Quality",
        help="Never trained on. If it gets worse while the reward rises, the reward is being gamed.",
        kind="by_key",
    ),
    Chart(
        key="preference",
        title="Groups with a preference",
        help="Share of groups whose pictures differ in reward. The others cost no training.",
        lines=(("preference_fraction", "share"),),
        low=0,
        high=1,
    ),
    Chart(
        key="gate",
        title="Gate",
        help="One half where a step begins, or with a frozen reference the run; it falls as preferences are satisfied.",
        lines=(("gate", "mean gate"),),
        low=0,
        high=1,
    ),
    Chart(
        key="clipped",
        title="Clipped share",
        help="Share of samples left alone: moved far enough from the old policy, or pushed far enough away.",
        lines=(("clipped_fraction", "share"),),
        low=0,
        high=1,
    ),
    Chart(
        key="kl",
        title="Distance from the reference",
        help="Mean squared difference of velocities between the policy and the frozen reference.",
        lines=(("kl", "KL"),),
    ),
    Chart(
        key="gradient",
        title="Gradient norm",
        help="Before it is scaled down to the allowed length.",
        lines=(("grad_norm", "norm"),),
    ),
    Chart(
        key="time",
        title="Seconds per step",
        help="Where the time of a step goes.",
        kind="stack",
        lines=(
            ("sampling_seconds", "drawing"),
            ("decoding_seconds", "decoding"),
            ("scoring_seconds", "scoring"),
            ("updating_seconds", "updating"),
            ("other_seconds", "other"),
        ),
        overlay=("step_seconds",),
    ),
)


def curves_panel(
    live: Live, *, topic: str, charts: tuple[Chart, ...] = RUN_CHARTS, value: list[int] | None = None, **options: Any
) -> gr.HTML:
    """A panel of live curves on its own topic; value None follows the shown run, a list of ids overlays those runs."""

    def answer(run: RunRow | None, cursor: Any) -> dict[str, Any] | None:
        wanted = cursor if isinstance(cursor, dict) else {}
        seen = wanted.get("seen")
        runs = chosen_runs(live.reader, run, wanted.get("runs"))
        return curve_update(live.reader, runs, seen if isinstance(seen, dict) else {})

    live.topic(topic, answer)
    return live.panel("curves.js", value=value, topic=topic, charts=[asdict(chart) for chart in charts], **options)


def chosen_runs(reader: Reader, shown: RunRow | None, ids: Any) -> list[RunRow]:
    """The runs of a list of ids that came from a browser (at most MAX_RUNS), or the shown run if there is no list."""
    if not isinstance(ids, list):
        return [shown] if shown else []
    found = [reader.run(run_id) for one in ids[:MAX_RUNS] if (run_id := whole_number(one)) is not None]
    return [run for run in found if run is not None]


def curve_update(reader: Reader, runs: list[RunRow], seen: dict[str, Any]) -> dict[str, Any] | None:
    """What the browser lacks of these runs, or None if it lacks nothing.

    seen maps a run's id (as text) to {"step", "mark", "examined", "examination"}: the last step shown and its duration
    (which tells a step that was done again after a resume from the one shown), the last examination's step and id.
    """
    updates = [_run_update(reader, run, _known(seen, run)) for run in runs]
    is_same_choice = {str(run.id) for run in runs} == set(seen)
    if is_same_choice and not any(run["reset"] or run["steps"] or run["evaluations"] for run in updates):
        return None
    return {"runs": updates}


def _known(seen: dict[str, Any], run: RunRow) -> dict[str, Any]:
    known = seen.get(str(run.id))
    return known if isinstance(known, dict) else {}


def _run_update(reader: Reader, run: RunRow, seen: dict[str, Any]) -> dict[str, Any]:
    rows, is_reset = _new_steps(reader, run.id, seen)
    evaluations = _new_evaluations(reader, run.id, {} if is_reset else seen)
    return {
        "id": run.id,
        "name": run.name,
        "reset": is_reset,
        "steps": step_columns(rows),
        "evaluations": [evaluation_values(row) for row in evaluations],
    }


def _new_evaluations(reader: Reader, run_id: int, seen: dict[str, Any]) -> list[EvaluationRow]:
    """Examinations beyond the last one shown, and those of its step that were made after it."""
    step, last_id = whole_number(seen.get("examined")), whole_number(seen.get("examination"))
    if step is None or last_id is None:
        return reader.evaluations(run_id)
    return [row for row in reader.evaluations(run_id, after=step - 1) if row.step > step or row.id > last_id]


def _new_steps(reader: Reader, run_id: int, seen: dict[str, Any]) -> tuple[list[StepRow], bool]:
    """Rows the browser lacks, and whether it must forget the ones it has."""
    last = whole_number(seen.get("step"))
    if last is None:
        return reader.steps(run_id, limit=MAX_POINTS), seen.get("step") != -1
    rows = reader.steps(run_id, after=last - 1, limit=MAX_POINTS)
    if rows and rows[0].step == last and short(rows[0].metrics.step_seconds) == seen.get("mark"):
        return rows[1:], False
    return reader.steps(run_id, limit=MAX_POINTS), True


def step_columns(rows: list[StepRow]) -> dict[str, list[float | int | None]]:
    """Rows as columns, {} for no rows."""
    if not rows:
        return {}
    columns: dict[str, list[float | int | None]] = {
        "step": [row.step for row in rows],
        "num_pictures": [row.pictures for row in rows],
    }
    for name in STEP_COLUMNS:
        columns[name] = [short(getattr(row.metrics, name)) for row in rows]
    return columns


def evaluation_values(row: EvaluationRow) -> dict[str, Any]:
    """An examination as plain values."""
    return {
        "id": row.id,
        "step": row.step,
        "policy": row.policy,
        "score": short(row.score),
        "quality": {key: short(value) for key, value in row.quality},
        "categories": {category: short(mean) for category, mean, _ in row.by_category},
    }


def short(value: float | None) -> float | None:
    """Five significant digits, which is more than a screen shows; None for what is not finite."""
    return float(f"{value:.5g}") if value is not None and isfinite(value) else None
