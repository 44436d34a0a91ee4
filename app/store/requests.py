"""What a person or the runner changes about a run, beside what the run itself reports.

Every function here runs inside the transaction of the writer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlite_utils import Database

from app.store.commands import command_to_row
from app.store.database import insert, now
from app.store.pictures import drop_orphaned_pictures
from app.store.recording import LIVE_STATES, end_run, note
from app.store.rows import RunState
from dgpo_core.errors import StoreError
from dgpo_core.events import Command, Drawing

NOTES_CHARACTERS = 100_000
_GONE = "The lab closed before this comparison was drawn. Ask for it again."


def create_run(db: Database, name: str, config: str, num_steps: int) -> int:
    """The id of a new run that is about to start; config is JSON."""
    row = {
        "name": _checked_name(name),
        "state": RunState.STARTING.value,
        "created": now(),
        "config": config,
        "num_steps": num_steps,
    }
    return insert(db, "runs", row)


def resume_run(db: Database, run_id: int) -> None:
    """Makes an ended run one that is about to start; what was asked of it before is forgotten."""
    name, state = _run(db, run_id)
    if state.is_live:
        raise StoreError(f"Run {run_id} ({name}) is {state}; only a run that has ended can be resumed.")
    _forget_requests(db, "run_id = ?", [run_id])
    db.execute(
        "UPDATE runs SET state = ?, ended = NULL, message = '', details = '' WHERE id = ?",
        [RunState.STARTING.value, run_id],
    )


def send(db: Database, run_id: int, command: Command) -> int:
    """The id of a command that waits for a live run."""
    name, state = _run(db, run_id)
    kind, body = command_to_row(command)
    if not state.is_live:
        raise StoreError(f"Run {run_id} ({name}) is {state}, so it cannot take {kind}. Start or resume a run first.")
    return insert(db, "commands", {"run_id": run_id, "created": now(), "kind": kind, "body": body})


def finish_command(db: Database, command_id: int) -> None:
    """Marks a command as carried out."""
    db.execute("UPDATE commands SET finished = ? WHERE id = ?", [now(), command_id])


def request_comparison(
    db: Database, run_id: int, step: int | None, num_prompts: int, seed: int, *, drawing: Drawing
) -> int:
    """The id of a comparison that is awaited from now on."""
    _run(db, run_id)
    row = {"run_id": run_id, "created": now(), "step": step, "num_prompts": num_prompts, "seed": str(seed)}
    return insert(db, "comparisons", row | asdict(drawing))


@dataclass(frozen=True, slots=True, kw_only=True)
class RacePlace:
    """Which of a race's runs a run is."""

    entrant: str
    learning_rate: float
    seed: int
    is_tuning: bool


def create_race(db: Database, name: str, plan: str) -> int:
    """The id of a new race; plan is JSON."""
    return insert(db, "races", {"name": name, "created": now(), "plan": plan})


def enter(db: Database, race_id: int, run_id: int, place: RacePlace) -> None:
    """Makes a run one of a race."""
    _run(db, run_id)
    insert(db, "race_runs", {"race_id": race_id, "run_id": run_id} | asdict(place))


def end_race(db: Database, race_id: int) -> None:
    """Says that a race is over."""
    db.execute("UPDATE races SET ended = ? WHERE id = ?", [now(), race_id])


def set_notes(db: Database, run_id: int, text: str) -> None:
    """Replaces a run's notes."""
    _run(db, run_id)
    if len(text) > NOTES_CHARACTERS:
        raise StoreError(f"Notes may have {NOTES_CHARACTERS} characters, got {len(text)}. Shorten them.")
    db.execute("UPDATE runs SET notes = ? WHERE id = ?", [text, run_id])


def rename(db: Database, run_id: int, name: str) -> None:
    """Gives a run another name; its config keeps the one it started with."""
    _run(db, run_id)
    db.execute("UPDATE runs SET name = ? WHERE id = ?", [_checked_name(name), run_id])


def delete_run(db: Database, run_id: int) -> list[str]:
    """Deletes a run with all its rows and pictures, and a race with its last run.

    Returns the checkpoint folders that nothing names any more.
    """
    name, state = _run(db, run_id)
    if state.is_live:
        raise StoreError(f"Run {run_id} ({name}) is {state}. Stop it first, then delete it.")
    folders = [row[0] for row in db.execute("SELECT folder FROM checkpoints WHERE run_id = ? ORDER BY step", [run_id])]
    races = [row[0] for row in db.execute("SELECT race_id FROM race_runs WHERE run_id = ?", [run_id])]
    db.execute("DELETE FROM runs WHERE id = ?", [run_id])
    for race_id in races:
        db.execute(
            "DELETE FROM races WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM race_runs WHERE race_id = ?1)", [race_id]
        )
    drop_orphaned_pictures(db)
    _shrink(db)
    return folders


def mark_interrupted(db: Database) -> list[int]:
    """The live runs, which become interrupted; only who holds the training lock knows that they are."""
    lost = [row[0] for row in db.execute(f"SELECT id FROM runs WHERE state IN {LIVE_STATES} ORDER BY id")]
    for run_id in lost:
        end_run(db, run_id, RunState.INTERRUPTED)
        step = db.execute("SELECT coalesce(max(step), -1) FROM steps WHERE run_id = ?", [run_id]).fetchone()[0]
        note(db, run_id, step, "interrupted", "The process that trained this run ended. It can be resumed.")
    _forget_requests(db, "TRUE", [])
    return lost


def _shrink(db: Database) -> None:
    """Gives free pages back to the disk: pysqlite3 all in one call, Python's own driver one a call."""
    before, left = -1, _num_free_pages(db)
    while left and left != before:
        db.execute("PRAGMA incremental_vacuum").fetchall()
        before, left = left, _num_free_pages(db)


def _num_free_pages(db: Database) -> int:
    return int(db.execute("PRAGMA freelist_count").fetchone()[0])


def _forget_requests(db: Database, where: str, values: list[int]) -> None:
    db.execute(f"UPDATE commands SET finished = ? WHERE finished IS NULL AND {where}", [now(), *values])
    db.execute(f"UPDATE comparisons SET message = ? WHERE NOT is_done AND message = '' AND {where}", [_GONE, *values])


def _run(db: Database, run_id: int) -> tuple[str, RunState]:
    found = db.execute("SELECT name, state FROM runs WHERE id = ?", [run_id]).fetchone()
    if found is None:
        raise StoreError(f"There is no run {run_id}; it may have been deleted. Reload the list of runs.")
    return found[0], RunState(found[1])


def _checked_name(name: str) -> str:
    if not name.strip() or len(name) > 200 or not name.isprintable():
        raise StoreError(f"A run's name must be 1 to 200 printable characters, got {name[:40]!r}. Choose a short name.")
    return name
