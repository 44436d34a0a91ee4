"""Labels as rows: groups that wait for people, who has which in hand, and what they said, revision after revision.

Every function here runs inside the transaction of the writer. A label is never changed: who says something else adds
a row that replaces the one before, and an unbroken chain per person and group is what the indexes allow.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from sqlite_utils import Database

from app.store.database import insert, now
from app.store.rows import Said
from dgpo_core.errors import LabelError
from dgpo_core.events import PostedGroup
from dgpo_core.label import Skip, label_from_row, label_to_row

LEASE_SECONDS = 120.0
HEADS = "SELECT * FROM labels AS one WHERE NOT EXISTS (SELECT 1 FROM labels WHERE replaces = one.id)"
"""Everyone's newest label of each group."""
STANDING = (
    "SELECT * FROM labels AS one WHERE undoes IS NULL AND NOT EXISTS (SELECT 1 FROM labels WHERE undoes = one.id)"
)
"""What people did and did not take back: per group and person a stack, whose top says what their newest label says."""
CANDIDATES = f"""
SELECT tasks.id FROM label_tasks AS tasks
LEFT JOIN ({HEADS}) AS mine ON mine.task_id = tasks.id AND mine.rater = :rater
WHERE tasks.closed IS NULL AND (mine.id IS NULL OR mine.kind = 'skip')
  AND NOT EXISTS (SELECT 1 FROM leases WHERE task_id = tasks.id AND rater <> :rater AND expires > :now)
ORDER BY (SELECT ended FROM runs WHERE id = tasks.run_id) IS NOT NULL, mine.id IS NOT NULL,
  (SELECT count(*) FROM ({HEADS}) AS heads WHERE heads.task_id = tasks.id AND heads.kind <> 'skip'),
  EXISTS (SELECT 1 FROM leases WHERE task_id = tasks.id AND rater = :rater) DESC, mine.id, tasks.id
"""
"""The open groups that a person may be given now, the one they should get first."""
LONGEST_NAME = 60


def post_groups(db: Database, run_id: int, step: int, groups: Iterable[PostedGroup]) -> None:
    """Opens the groups of a step to labels. Posted again with the same pictures, their labels still count."""
    for group in groups:
        shas = [sha256(png).hexdigest() for png in group.pngs]
        place = [run_id, step, group.index]
        row = db.execute(
            "SELECT id FROM label_tasks WHERE run_id = ? AND step = ? AND group_index = ? ORDER BY id DESC LIMIT 1",
            place,
        ).fetchone()
        known = [] if row is None else _shas(db, row[0])
        if row is not None and known == shas:
            db.execute("UPDATE label_tasks SET closed = NULL WHERE id = ?", [row[0]])
            continue
        if row is not None:
            db.execute("UPDATE label_tasks SET closed = coalesce(closed, ?) WHERE id = ?", [now(), row[0]])
        task = {"run_id": run_id, "step": step, "group_index": group.index, "prompt": group.prompt, "created": now()}
        task_id = insert(db, "label_tasks", task)
        for member, sha in enumerate(shas):
            insert(db, "label_samples", {"task_id": task_id, "member": member, "sha": sha})


def _shas(db: Database, task_id: int) -> list[str]:
    rows = db.execute("SELECT sha FROM label_samples WHERE task_id = ? ORDER BY member", [task_id])
    return [row[0] for row in rows]


def lease_next(db: Database, rater: str, *, seconds: float = LEASE_SECONDS) -> int | None:
    """The id of the open group that this person is to judge next, theirs for so long; None where there is none.

    Those of a live run come first; of these, those nobody has judged yet, then those with fewest labels, skipped ones
    last. Nobody gets what they judged before, what another one has in hand, or a group whose pictures are lost.
    """
    _check_rater(rater)
    rows = db.execute(CANDIDATES, {"rater": rater, "now": now()})
    task_id = next((int(row[0]) for row in rows if not _lost_pictures(db, row[0])), None)
    if task_id is not None:
        _lease(db, rater, task_id, seconds)
    return task_id


def _lease(db: Database, rater: str, task_id: int, seconds: float) -> None:
    expires = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
    db.execute("DELETE FROM leases WHERE rater = ? OR task_id = ?", [rater, task_id])
    insert(db, "leases", {"task_id": task_id, "rater": rater, "expires": expires})


def put_label(db: Database, said: Said) -> int:
    """The id of the label's row; the same request gives the same id again and changes nothing.

    Raises:
        LabelError: the label cannot be understood, or the group is gone, closed, or has lost a picture.
    """
    _check_rater(said.rater)
    known = db.execute("SELECT id FROM labels WHERE request = ?", [said.request]).fetchone()
    if known is not None:
        return int(known[0])
    _check_open(db, said.task_id)
    size = db.execute("SELECT count(*) FROM label_samples WHERE task_id = ?", [said.task_id]).fetchone()[0]
    label = label_from_row(said.kind, said.body, size)
    if not isinstance(label, Skip) and (lost := _lost_pictures(db, said.task_id)):
        raise LabelError(
            f"Picture {lost[0] + 1} of group {said.task_id} is gone from the store, so the group cannot be judged. "
            "Go on with the next."
        )
    db.execute("DELETE FROM leases WHERE rater = ? AND task_id = ?", [said.rater, said.task_id])
    return _add_revision(db, replace(said, body=label_to_row(label)[1]))


def take_back(db: Database, rater: str, request: str) -> int | None:
    """Undoes what this person did last to an open group, by a revision that says what was said before it, or nothing.

    Returns the group's id, and None where there is nothing to take back. The same request does it once; another one
    goes a step further back.
    """
    _check_rater(rater)
    known = db.execute("SELECT task_id FROM labels WHERE request = ?", [request]).fetchone()
    if known is not None:
        return int(known[0])
    done = db.execute(
        f"""
        SELECT deeds.id, task_id FROM ({STANDING}) AS deeds JOIN label_tasks ON label_tasks.id = task_id
        WHERE rater = ? AND closed IS NULL ORDER BY deeds.id DESC LIMIT 1
        """,
        [rater],
    ).fetchone()
    if done is None:
        return None
    done_id, task_id = done
    before = db.execute(
        f"SELECT kind, body FROM ({STANDING}) WHERE task_id = ? AND rater = ? AND id < ? ORDER BY id DESC LIMIT 1",
        [task_id, rater, done_id],
    ).fetchone() or ("skip", "{}")
    said = Said(task_id=task_id, rater=rater, kind=before[0], body=json.loads(before[1]), seconds=0.0, request=request)
    _add_revision(db, said, undoes=done_id)
    if not db.execute("SELECT 1 FROM leases WHERE task_id = ? AND expires > ?", [task_id, now()]).fetchone():
        _lease(db, rater, task_id, LEASE_SECONDS)
    return int(task_id)


def _add_revision(db: Database, said: Said, *, undoes: int | None = None) -> int:
    """The id of a row that replaces this person's newest one of the group."""
    head = db.execute(
        f"SELECT id FROM ({HEADS}) WHERE task_id = ? AND rater = ?", [said.task_id, said.rater]
    ).fetchone()
    row = {
        "task_id": said.task_id,
        "rater": said.rater,
        "created": now(),
        "kind": said.kind,
        "body": json.dumps(said.body),
        "seconds": max(0.0, said.seconds),
        "request": said.request,
        "replaces": head[0] if head else None,
        "undoes": undoes,
    }
    return insert(db, "labels", row)


def close_groups(db: Database, run_id: int, step: int) -> None:
    """No more labels for a step's groups: training goes on."""
    db.execute(
        "UPDATE label_tasks SET closed = ? WHERE run_id = ? AND step = ? AND closed IS NULL", [now(), run_id, step]
    )


def _check_rater(rater: str) -> None:
    if not rater.strip() or len(rater) > LONGEST_NAME or not rater.isprintable():
        raise LabelError(f"Your name must be 1 to {LONGEST_NAME} printable characters, got {rater[:40]!r}.")


def _check_open(db: Database, task_id: int) -> None:
    task = db.execute("SELECT closed FROM label_tasks WHERE id = ?", [task_id]).fetchone()
    if task is None:
        raise LabelError(f"Group {task_id} is gone; it may have been deleted with its run. Go on with the next.")
    if task[0] is not None:
        raise LabelError(f"Group {task_id} is closed: training went on without it. Go on with the next.")


def _lost_pictures(db: Database, task_id: int) -> list[int]:
    """The members whose picture is not in the store, which only another program can bring about."""
    rows = db.execute(
        "SELECT member FROM label_samples AS one WHERE task_id = ?"
        " AND NOT EXISTS (SELECT 1 FROM pictures WHERE pictures.sha = one.sha) ORDER BY member",
        [task_id],
    )
    return [row[0] for row in rows]
