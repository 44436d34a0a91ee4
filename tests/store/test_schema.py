from dataclasses import fields

from recorded_runs import examined, step_done

from app.store.database import open_for_reading
from app.store.requests import RacePlace
from app.store.rows import Agreement, Said, TrialWish
from dgpo_core.events import (
    CheckpointSaved,
    ComparisonDone,
    EndReason,
    EvaluationDone,
    GroupsPosted,
    PostedGroup,
    PreferenceLearned,
    Preview,
    RunEnded,
    StepMetrics,
    Stop,
    Warned,
)

KEPT_FOR_GOOD = {"lab", "_sqlite_migrations", "sqlite_sequence"}


def test_steps_have_a_column_for_every_metric(writer, path):
    with open_for_reading(path) as db:
        columns = list(db["steps"].columns_dict)
    assert columns == ["id", "run_id", "step", *(one.name for one in fields(StepMetrics))]


def test_ids_are_never_given_again(writer, path):
    with open_for_reading(path) as db:
        numbered = {
            table.name: "AUTOINCREMENT" in table.schema for table in db.tables if table.name not in KEPT_FOR_GOOD
        }
    assert numbered.pop("pictures") is False
    assert all(numbered.values()), numbered


def test_every_foreign_key_is_indexed(writer, path):
    with open_for_reading(path) as db:
        for table in db.tables:
            indexed = {index.columns[0] for index in table.indexes}
            assert {key.column for key in table.foreign_keys} <= indexed, table.name


def test_a_deleted_run_leaves_no_row_behind(writer, run_id, path):
    request_id = writer.request_comparison(run_id, None, 2, 0)
    writer.send(run_id, Stop())
    place = RacePlace(entrant="dgpo", learning_rate=1e-4, seed=0, is_tuning=False)
    writer.enter(writer.create_race("small", {}), run_id, place)
    writer.record(run_id, GroupsPosted(step=0, groups=(PostedGroup(0, "a cat", (b"one", b"two")),)))
    writer.flush()
    task_id = writer.lease_next("ann")
    body = {"best": [0]}
    writer.request_trial(TrialWish(reward="brightness", run_id=run_id, step=0, group_index=0), [b"tried"])
    said = Said(task_id=task_id, rater="ann", kind="picks", body=body, seconds=1.0, request="click one")
    writer.put_agreements([Agreement(writer.put_label(said), "reward", "brightness", 0.5)])
    writer.record(run_id, GroupsPosted(step=1, groups=(PostedGroup(0, "a dog", (b"one", b"two")),)))
    writer.flush()
    assert writer.lease_next("ann") is not None
    for event in (
        step_done(0),
        EvaluationDone(step=0, policy="policy", score=0.5, quality=(), samples=(examined(1),)),
        ComparisonDone(request_id=request_id, step=0, before=(examined(2),), after=(examined(3),)),
        Preview(step=0, samples=(examined(4),)),
        Warned(step=0, message="alarm", samples=(examined(5),)),
        PreferenceLearned(
            step=1,
            version=1,
            folder="version-1",
            num_groups=1,
            num_labels=1,
            accuracy=None,
            calibration_error=None,
            bins=(),
        ),
        CheckpointSaved(step=0, folder="runs/1/0", num_bytes=1),
        RunEnded(step=0, reason=EndReason.STOPPED),
    ):
        writer.record(run_id, event)
    writer.flush()
    with open_for_reading(path) as db:
        counts = {table.name: table.count for table in db.tables if table.name not in KEPT_FOR_GOOD}
        assert all(counts.values()), counts
        writer.delete_run(run_id)
        counts = {table.name: table.count for table in db.tables if table.name not in KEPT_FOR_GOOD}
        assert not any(counts.values()), counts
