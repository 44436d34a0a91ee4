"""Groups from outside the lab as a run of their own, in one transaction: all of them, or none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlite_utils import Database

from app.store.database import insert, now
from app.store.labelling import post_groups
from app.store.pictures import keep_pictures
from app.store.recording import end_run
from app.store.requests import create_run, set_notes
from app.store.rows import RunState
from dgpo_core.errors import StoreError
from dgpo_core.events import PostedGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedLabel:
    """What a person said elsewhere; kind and body are those that label_to_row() gives. created None is now."""

    rater: str
    kind: str
    body: dict[str, Any]
    seconds: float = 0.0
    created: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedGroup:
    """A prompt, its pictures as PNG files that are there and stay until they are read, and what was said of them."""

    prompt: str
    files: tuple[Path, ...]
    labels: tuple[ImportedLabel, ...]


def import_groups(db: Database, config: dict[str, Any], groups: Sequence[ImportedGroup], notes: str) -> int:
    """The id of a finished run that holds the groups; those nobody has judged wait for people."""
    run_id = create_run(db, config["name"], json.dumps(config), 0)
    end_run(db, run_id, RunState.FINISHED)
    set_notes(db, run_id, notes)
    for index, group in enumerate(groups):
        pngs = tuple(_bytes_of(file) for file in group.files)
        keep_pictures(db, pngs)
        post_groups(db, run_id, 0, [PostedGroup(index, group.prompt, pngs)])
        task = db.execute("SELECT id FROM label_tasks WHERE run_id = ? AND group_index = ?", [run_id, index]).fetchone()
        for label in group.labels:
            _add(db, task[0], label)
        if group.labels:
            db.execute("UPDATE label_tasks SET closed = ? WHERE id = ?", [now(), task[0]])
    return run_id


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise StoreError(
            f"A picture of the import cannot be read any more: {error.strerror}. Import it again; nothing was taken."
        ) from error


def _add(db: Database, task_id: int, label: ImportedLabel) -> None:
    row = {
        "task_id": task_id,
        "rater": label.rater,
        "created": label.created or now(),
        "kind": label.kind,
        "body": json.dumps(label.body),
        "seconds": label.seconds,
        "request": f"import {uuid4().hex}",
    }
    insert(db, "labels", row)
