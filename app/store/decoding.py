"""Rows as read models. A number that SQLite holds as NULL was not a number when it was written."""

from __future__ import annotations

import json
from dataclasses import fields
from math import nan
from typing import Any

from app.store.rows import (
    CheckpointRow,
    ComparisonRow,
    EvaluationRow,
    EventRow,
    ExaminedRow,
    GroupRow,
    LabelRow,
    LabelTaskRow,
    PreferenceRow,
    RacePoint,
    RaceRow,
    RaceRunRow,
    RunRow,
    RunState,
    SampleRow,
    StepRow,
    TrialPictureRow,
    TrialRow,
)
from dgpo_core.events import Drawing, StepMetrics

Row = dict[str, Any]
Pairs = tuple[tuple[str, float], ...]


def run_row(row: Row) -> RunRow:
    """One row of the query in reader.py that adds a run's newest numbers."""
    return RunRow(**row | {"state": RunState(row["state"]), "config": json.loads(row["config"])})


def trial_row(row: Row) -> TrialRow:
    """One row of trials."""
    passed = None if row["passed"] is None else bool(row["passed"])
    return TrialRow(**row | {"is_done": bool(row["is_done"]), "passed": passed})


def trial_picture_row(row: Row) -> TrialPictureRow:
    """One row of trial_pictures."""
    terms = tuple((name, value) for name, value in json.loads(row["terms"]))
    return TrialPictureRow(**row | {"terms": terms})


def step_row(row: Row) -> StepRow:
    """One row of steps."""
    metrics = {one.name: _number(row[one.name]) for one in fields(StepMetrics)}
    return StepRow(step=row["step"], metrics=StepMetrics(**metrics), pictures=row["pictures"])


def group_row(row: Row, step: int, samples: list[SampleRow]) -> GroupRow:
    """One row of groups with its samples, which come out best first, no opinion last."""
    ranked = sorted(samples, key=lambda one: (one.reward is None, -(one.reward or 0.0), one.member))
    return GroupRow(
        id=row["id"],
        step=step,
        index=row["group_index"],
        prompt=row["prompt"],
        reward_mean=_number(row["reward_mean"]),
        reward_std=_number(row["reward_std"]),
        gate=_number(row["gate"]),
        has_preference=bool(row["has_preference"]),
        samples=tuple(ranked),
    )


def sample_row(row: Row) -> SampleRow:
    """One row of samples."""
    return SampleRow(
        id=row["id"],
        member=row["member"],
        seed=int(row["seed"]),
        sha=row["sha"],
        reward=row["reward"],
        terms=_pairs(row["terms"]),
        advantage=_number(row["advantage"]),
    )


def examined_row(row: Row) -> ExaminedRow:
    """One row of examined."""
    names = [one.name for one in fields(ExaminedRow)]
    return ExaminedRow(**{name: row[name] for name in names} | {"seed": int(row["seed"])})


def evaluation_row(row: Row, by_category: list[tuple[str, float, int]]) -> EvaluationRow:
    """One row of evaluations with the means of its pictures."""
    return EvaluationRow(
        id=row["id"],
        step=row["step"],
        policy=row["policy"],
        score=row["score"],
        quality=_pairs(row["quality"]),
        by_category=tuple(by_category),
    )


def comparison_row(row: Row) -> ComparisonRow:
    """One row of comparisons."""
    plain = dict(row)
    drawing = Drawing(**{one.name: plain.pop(one.name) for one in fields(Drawing)})
    return ComparisonRow(**plain | {"seed": int(row["seed"]), "is_done": bool(row["is_done"]), "drawing": drawing})


def label_row(row: Row) -> LabelRow:
    """One row of the query in reader.py that joins labels with their groups."""
    places = tuple(json.loads(row["places"])) if row["repeat_of"] is not None else None
    return LabelRow(**row | {"body": json.loads(row["body"]), "places": places})


def preference_row(row: Row) -> PreferenceRow:
    """One row of preferences."""
    return PreferenceRow(**row | {"bins": tuple(tuple(one) for one in json.loads(row["bins"]))})


def label_task_row(row: Row, shas: list[str]) -> LabelTaskRow:
    """One row of label_tasks with its run, and its pictures."""
    known = {"run_state": RunState(row["run_state"]), "is_open": bool(row["is_open"]), "shas": tuple(shas)}
    return LabelTaskRow(**row | known)


def race_row(row: Row) -> RaceRow:
    """One row of races."""
    return RaceRow(**row | {"plan": json.loads(row["plan"])})


def race_run_row(row: Row, points: list[RacePoint]) -> RaceRunRow:
    """One row of race_runs with its run's state."""
    known = {"state": RunState(row["state"]), "is_tuning": bool(row["is_tuning"]), "points": tuple(points)}
    return RaceRunRow(**row | known)


def race_point(row: Row) -> RacePoint:
    """One examination with the sums of the steps before it."""
    return RacePoint(
        step=row["step"],
        score=_number(row["score"]),
        quality=_pairs(row["quality"]),
        seconds=row["seconds"],
        pictures=row["pictures"],
        network_evaluations=row["network_evaluations"],
    )


def checkpoint_row(row: Row) -> CheckpointRow:
    """One row of checkpoints."""
    return CheckpointRow(**row)


def event_row(row: Row) -> EventRow:
    """One row of events."""
    return EventRow(**row)


def _number(value: float | None) -> float:
    return nan if value is None else value


def _pairs(text: str) -> Pairs:
    return tuple((name, value) for name, value in json.loads(text))
