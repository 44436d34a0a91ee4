"""Events as rows. Every function here runs inside the transaction of the writer, and a replay changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from sqlite_utils import Database

from app.store.database import insert, now
from app.store.labelling import close_groups, post_groups
from app.store.opinions import record_preference
from app.store.pictures import drop_orphaned_pictures, keep_pictures
from app.store.rows import RunState
from dgpo_core.events import (
    CheckpointDropped,
    CheckpointSaved,
    ComparisonDone,
    ComparisonFailed,
    EndReason,
    EvaluationDone,
    Event,
    Examined,
    GroupsClosed,
    GroupsPosted,
    MemoryTaken,
    Phase,
    PhaseChanged,
    PreferenceLearned,
    Preview,
    RunEnded,
    RunFailed,
    RunStarted,
    ScoredGroup,
    StepDone,
    Warned,
)

LIVE_STATES = tuple(state.value for state in RunState if state.is_live)


def record_event(db: Database, run_id: int, event: Event) -> None:
    """Writes one event of a run as its rows."""
    RECORDERS[type(event)](db, run_id, event)


def note(db: Database, run_id: int, step: int, kind: str, message: str) -> int:
    """Writes a line in the run's diary; its id."""
    return insert(db, "events", {"run_id": run_id, "created": now(), "step": step, "kind": kind, "message": message})


def _record_start(db: Database, run_id: int, event: RunStarted) -> None:
    _supersede(db, run_id, event.first_step)
    db.execute(
        "UPDATE runs SET state = ?, num_steps = ?, ended = NULL WHERE id = ?",
        [RunState.RUNNING.value, event.num_steps, run_id],
    )
    message = f"Began at step {event.first_step} of {event.num_steps} with {event.num_trainable} trainable numbers."
    note(db, run_id, event.first_step, "started", message)


def _supersede(db: Database, run_id: int, first_step: int) -> None:
    """Deletes what weights made that are gone, and says so in the diary.

    Step n made the weights n + 1 out of n, and examination n is of the weights n, which are those taken up again.
    """
    since = [run_id, first_step]
    db.execute(
        "DELETE FROM examined WHERE kind = 'evaluation'"
        " AND owner_id IN (SELECT id FROM evaluations WHERE run_id = ? AND step > ?)",
        since,
    )
    _remove_alarms(db, run_id, first_step)
    num_evaluations = db.execute("DELETE FROM evaluations WHERE run_id = ? AND step > ?", since).rowcount
    num_steps = db.execute("DELETE FROM steps WHERE run_id = ? AND step >= ?", since).rowcount
    if num_steps or num_evaluations:
        drop_orphaned_pictures(db)
        message = (
            f"Took up again at step {first_step}. Removed, since the weights that made them were not saved: "
            f"steps: {num_steps}, examinations: {num_evaluations}."
        )
        note(db, run_id, first_step, "superseded", message)


def _remove_alarms(db: Database, run_id: int, first_step: int) -> None:
    """Pictures of an alarm over weights that are gone; that it was raised stays in the diary."""
    alarms = "SELECT id FROM previews WHERE run_id = ? AND step > ? AND event_id IS NOT NULL"
    db.execute(f"DELETE FROM examined WHERE kind = 'preview' AND owner_id IN ({alarms})", [run_id, first_step])
    db.execute(f"DELETE FROM previews WHERE id IN ({alarms})", [run_id, first_step])


def _record_phase(db: Database, run_id: int, event: PhaseChanged) -> None:
    state = {Phase.PAUSED: RunState.PAUSED.value, Phase.LOADING: None}.get(event.phase, RunState.RUNNING.value)
    db.execute(
        "UPDATE runs SET state = coalesce(?, state), phase = ?, phase_done = ?, phase_total = ?"
        f" WHERE id = ? AND state IN {LIVE_STATES}",
        [state, event.phase.value, event.done, event.total, run_id],
    )


def _record_step(db: Database, run_id: int, event: StepDone) -> None:
    metrics = {name: float(value) for name, value in asdict(event.metrics).items()}
    step_id = insert(db, "steps", {"run_id": run_id, "step": event.step} | metrics, key=("run_id", "step"))
    keep_pictures(db, (sample.png for group in event.groups for sample in group.samples))
    for group in event.groups:
        _record_group(db, step_id, group)


def _record_group(db: Database, step_id: int, group: ScoredGroup) -> None:
    row = {
        "step_id": step_id,
        "group_index": group.index,
        "prompt": group.prompt,
        "reward_mean": float(group.reward_mean),
        "reward_std": float(group.reward_std),
        "gate": float(group.gate),
        "has_preference": int(group.has_preference),
    }
    group_id = insert(db, "groups", row, key=("step_id", "group_index"))
    for sample in group.samples:
        drawn = {
            "group_id": group_id,
            "member": sample.member,
            "seed": str(sample.seed),
            "sha": sha256(sample.png).hexdigest(),
            "reward": _optional(sample.reward),
            "terms": _pairs(sample.terms),
            "advantage": float(sample.advantage),
        }
        insert(db, "samples", drawn, key=("group_id", "member"))


def _record_posting(db: Database, run_id: int, event: GroupsPosted) -> None:
    keep_pictures(db, (png for group in event.groups for png in group.pngs))
    post_groups(db, run_id, event.step, event.groups, event.num_repeats)


def _record_closing(db: Database, run_id: int, event: GroupsClosed) -> None:
    close_groups(db, run_id, event.step)
    if event.num_labelled < event.num_groups:
        drawn = "1 group" if event.num_groups == 1 else f"{event.num_groups} groups"
        labelled = f"asked about {event.num_asked} and labelled {event.num_labelled or 'none'}"
        note(db, run_id, event.step, "labelled", f"Of {drawn} people were {labelled}; {event.rest}.")


def _record_evaluation(db: Database, run_id: int, event: EvaluationDone) -> None:
    row = {
        "run_id": run_id,
        "created": now(),
        "step": event.step,
        "policy": event.policy,
        "score": _optional(event.score),
        "quality": _pairs(_kept_quality(db, run_id, event)),
    }
    owner_id = insert(db, "evaluations", row, key=("run_id", "step", "policy"))
    _record_examined(db, run_id, "evaluation", owner_id, {"": event.samples})
    note(db, run_id, event.step, "examined", f"Held-out score of the {event.policy}: {event.score_in_words()}.")


def _kept_quality(db: Database, run_id: int, event: EvaluationDone) -> list[tuple[str, float]]:
    """The quality of an examination, and what only an earlier one of the same weights knew, such as of groups."""
    sql = "SELECT quality FROM evaluations WHERE run_id = ? AND step = ? AND policy = ?"
    before = next(db.query(sql, [run_id, event.step, event.policy]), {"quality": "[]"})
    known = {name for name, _ in event.quality}
    return [*event.quality, *((name, value) for name, value in json.loads(before["quality"]) if name not in known)]


def _record_comparison(db: Database, run_id: int, event: ComparisonDone) -> None:
    found = db.execute(
        "UPDATE comparisons SET is_done = 1, message = '', step = ? WHERE id = ? AND run_id = ?",
        [event.step, event.request_id, run_id],
    )
    if found.rowcount == 0:
        return  # its run was deleted while it was being drawn
    _record_examined(db, run_id, "comparison", event.request_id, {"before": event.before, "after": event.after})
    note(db, run_id, event.step, "compared", f"Compared {len(event.after)} prompts with the base.")


def _record_lost_comparison(db: Database, run_id: int, event: ComparisonFailed) -> None:
    fail_comparison(db, event.request_id, event.message)


def fail_comparison(db: Database, comparison_id: int, message: str) -> None:
    """Says why a comparison will not come; one that is done stays done."""
    db.execute("UPDATE comparisons SET message = ? WHERE id = ? AND NOT is_done", [message, comparison_id])


def _record_preview(db: Database, run_id: int, event: Preview) -> None:
    _keep_shown(db, run_id, event.step, event.samples, event_id=None)


def _keep_shown(db: Database, run_id: int, step: int, samples: tuple[Examined, ...], *, event_id: int | None) -> None:
    """Pictures shown by themselves: drawn on request, or those that a line of the diary speaks of."""
    row = {"run_id": run_id, "created": now(), "step": step, "event_id": event_id}
    _record_examined(db, run_id, "preview", insert(db, "previews", row), {"": samples})


def _record_examined(
    db: Database, run_id: int, kind: str, owner_id: int, sides: dict[str, tuple[Examined, ...]]
) -> None:
    db.execute("DELETE FROM examined WHERE kind = ? AND owner_id = ?", [kind, owner_id])
    keep_pictures(db, (sample.png for samples in sides.values() for sample in samples))
    for side, samples in sides.items():
        for sample in samples:
            row = {
                "run_id": run_id,
                "kind": kind,
                "owner_id": owner_id,
                "side": side,
                "prompt": sample.prompt,
                "category": sample.category,
                "seed": str(sample.seed),
                "score": _optional(sample.score),
                "details": sample.details,
                "sha": sha256(sample.png).hexdigest(),
            }
            insert(db, "examined", row)


def _record_checkpoint(db: Database, run_id: int, event: CheckpointSaved) -> None:
    row = {
        "run_id": run_id,
        "step": event.step,
        "folder": event.folder,
        "num_bytes": event.num_bytes,
        "created": now(),
    }
    insert(db, "checkpoints", row, key=("run_id", "step"))
    note(db, run_id, event.step, "saved", f"Saved {event.folder} ({event.num_bytes / 1e6:.1f} MB).")


def _record_dropped(db: Database, run_id: int, event: CheckpointDropped) -> None:
    db.execute("DELETE FROM checkpoints WHERE run_id = ? AND step = ?", [run_id, event.step])
    note(db, run_id, event.step, "dropped", f"Removed the older checkpoint {event.folder}.")


def _record_warning(db: Database, run_id: int, event: Warned) -> None:
    event_id = note(db, run_id, event.step, "warned", event.message)
    if event.samples:
        _keep_shown(db, run_id, event.step, event.samples, event_id=event_id)


def _record_memory(db: Database, run_id: int, event: MemoryTaken) -> None:
    note(db, run_id, event.step, "memory", event.in_words())


def _record_end(db: Database, run_id: int, event: RunEnded) -> None:
    state = {
        EndReason.FINISHED: RunState.FINISHED,
        EndReason.STOPPED: RunState.STOPPED,
        EndReason.FAILED: RunState.FAILED,
    }[event.reason]
    end_run(db, run_id, state)
    note(db, run_id, event.step, "ended", f"The run {event.reason.value} at step {event.step}.")


def _record_failure(db: Database, run_id: int, event: RunFailed) -> None:
    end_run(db, run_id, RunState.FAILED)
    db.execute("UPDATE runs SET message = ?, details = ? WHERE id = ?", [event.message, event.details, run_id])
    note(db, run_id, event.step, "failed", event.message)


def end_run(db: Database, run_id: int, state: RunState) -> None:
    """Puts a run into a state in which nothing trains it."""
    db.execute(
        "UPDATE runs SET state = ?, ended = ?, phase = '', phase_done = 0, phase_total = 0 WHERE id = ?",
        [state.value, now(), run_id],
    )


def _pairs(pairs: Iterable[tuple[str, float]]) -> str:
    return json.dumps([[name, float(value)] for name, value in pairs])


def _optional(value: float | None) -> float | None:
    return None if value is None else float(value)


RECORDERS: dict[type, Callable[[Database, int, Any], None]] = {
    RunStarted: _record_start,
    PhaseChanged: _record_phase,
    StepDone: _record_step,
    GroupsPosted: _record_posting,
    GroupsClosed: _record_closing,
    PreferenceLearned: record_preference,
    EvaluationDone: _record_evaluation,
    ComparisonDone: _record_comparison,
    ComparisonFailed: _record_lost_comparison,
    CheckpointSaved: _record_checkpoint,
    CheckpointDropped: _record_dropped,
    Preview: _record_preview,
    Warned: _record_warning,
    MemoryTaken: _record_memory,
    RunEnded: _record_end,
    RunFailed: _record_failure,
}
