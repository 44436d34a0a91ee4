"""What became of labels: models learned from them, and how far those who gave them agree. Inside the transaction of
the writer, and the questions that the reader asks."""

from __future__ import annotations

import json
from collections.abc import Iterable

from sqlite_utils import Database

from app.store.database import insert, now
from app.store.labelling import HEADS
from app.store.rows import Agreement
from dgpo_core.events import PreferenceLearned

PREFERENCES = """
SELECT version, created, step, folder, num_groups, num_labels, accuracy, calibration_error, bins
FROM preferences WHERE run_id = ? ORDER BY version
"""
LABELLED_RUNS = """
SELECT run_id, max(labels.id) AS label, max(agreements.id) AS agreement,
  (SELECT max(id) FROM preferences WHERE preferences.run_id = label_tasks.run_id) AS preference
FROM label_tasks JOIN labels ON labels.task_id = label_tasks.id LEFT JOIN agreements ON label_id = labels.id
GROUP BY run_id ORDER BY run_id DESC
"""
_SAID = f"({HEADS}) AS heads JOIN label_tasks AS tasks ON tasks.id = heads.task_id"
RATERS = f"""
SELECT rater, count(*) AS num_labels, count(repeat_of) AS num_repeats,
  avg(CASE WHEN undoes IS NULL THEN seconds END) AS seconds_per_label
FROM {_SAID} WHERE tasks.run_id = ? AND kind <> 'skip' GROUP BY rater ORDER BY rater
"""
AGREEMENTS = {
    by: f"""
SELECT {column} AS name, agreements.kind, {other} AS other, avg(tau) AS tau, count(*) AS count
FROM {_SAID} JOIN agreements ON agreements.label_id = heads.id
WHERE tasks.run_id = ? AND heads.kind <> 'skip' GROUP BY name, agreements.kind, 3 ORDER BY name, agreements.kind, 3
"""
    for by, column, other in (
        ("rater", "heads.rater", "other"),
        ("prompt", "tasks.prompt", "CASE WHEN agreements.kind = 'reward' THEN other ELSE '' END"),
    )
}


def record_preference(db: Database, run_id: int, event: PreferenceLearned) -> None:
    """Keeps what is known of a version of a run's preference model."""
    row = {
        "run_id": run_id,
        "version": event.version,
        "created": now(),
        "step": event.step,
        "folder": event.folder,
        "num_groups": event.num_groups,
        "num_labels": event.num_labels,
        "accuracy": event.accuracy,
        "calibration_error": event.calibration_error,
        "bins": json.dumps(event.bins),
    }
    insert(db, "preferences", row, key=("run_id", "version"))


def put_agreements(db: Database, agreements: Iterable[Agreement]) -> None:
    """Keeps how labels agree with other opinions, each once."""
    for one in agreements:
        row = {"label_id": one.label_id, "kind": one.kind, "other": one.other, "tau": one.tau}
        insert(db, "agreements", row, key=("label_id", "kind", "other"))
