"""Trials of rewards: pictures that somebody wants judged, and what came of it. All inside the writer's transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256

from sqlite_utils import Database

from app.store.database import insert, now
from app.store.pictures import drop_orphaned_pictures, keep_pictures
from app.store.rows import TrialResult, TrialWish

TRIALS_KEPT = 50
LOST = "The lab was closed before this trial was done. Try again."


def request_trial(db: Database, wish: TrialWish, pngs: Sequence[bytes]) -> int:
    """The id of a trial that is awaited from now on; the oldest beyond TRIALS_KEPT are forgotten."""
    row = {
        "created": now(),
        "reward": wish.reward,
        "prompt": wish.prompt,
        "run_id": wish.run_id,
        "step": wish.step,
        "group_index": wish.group_index,
    }
    trial_id = insert(db, "trials", row)
    keep_pictures(db, pngs)
    for place, png in enumerate(pngs):
        insert(db, "trial_pictures", {"trial_id": trial_id, "place": place, "sha": sha256(png).hexdigest()})
    db.execute("DELETE FROM trials WHERE id <= ?", [trial_id - TRIALS_KEPT])
    drop_orphaned_pictures(db)
    return trial_id


def finish_trial(db: Database, trial_id: int, result: TrialResult) -> None:
    """Stores what came of a trial."""
    db.execute(
        "UPDATE trials SET is_done = 1, message = '', passed = ?, self_test = ?, agreement = ? WHERE id = ?",
        [int(result.passed), result.self_test, result.agreement, trial_id],
    )
    for place, (reward, terms, details) in enumerate(result.judged):
        db.execute(
            "UPDATE trial_pictures SET reward = ?, terms = ?, details = ? WHERE trial_id = ? AND place = ?",
            [reward, json.dumps([list(one) for one in terms]), details, trial_id, place],
        )


def fail_trial(db: Database, trial_id: int, message: str) -> None:
    """Says why a trial came to nothing; one that is done stays done."""
    db.execute("UPDATE trials SET message = ? WHERE id = ? AND NOT is_done", [message, trial_id])


def fail_lost_trials(db: Database) -> None:
    """Says of trials whose process ended that they will not come."""
    db.execute("UPDATE trials SET message = ? WHERE NOT is_done AND message = ''", [LOST])
