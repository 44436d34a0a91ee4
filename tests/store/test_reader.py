from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_runs import CONFIG, metrics, step_done
from sqlite_utils.utils import sqlite3

from app.store.database import journal_mode_for, open_for_reading, open_for_writing, transaction
from app.store.reader import Reader
from app.store.writer import Writer
from dgpo_core.events import EndReason, Phase, PhaseChanged, Preview, RunEnded, Stop, Warned

NUM_STEPS = 300


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    """A reader of a run with steps 0, 2, 4 ...: a run may lack steps."""
    path = tmp_path_factory.mktemp("lab") / "lab.db"
    with Writer(path) as writer:
        run_id = writer.create_run(CONFIG, NUM_STEPS)
    with open_for_writing(path) as db, transaction(db):
        rows = ({"run_id": run_id, "step": 2 * number} for number in range(NUM_STEPS))
        db["steps"].insert_all(rows)
    reader = Reader(path)
    yield reader
    reader.close()


def test_runs_come_newest_first(writer, reader):
    ids = [writer.create_run(CONFIG, 10) for _ in range(3)]
    assert [row.id for row in reader.runs()] == ids[::-1]
    assert [reader.run(run_id) for run_id in ids[::-1]] == reader.runs()
    assert reader.run(99) is None


def test_nothing_is_found_in_an_empty_lab(writer, reader):
    assert (reader.runs(), reader.live_run(), reader.comparisons()) == ([], None, [])
    assert (reader.steps(1), reader.latest_step(1), reader.groups(1, 0)) == ([], None, [])
    assert (reader.evaluations(1), reader.previews(1), reader.checkpoints(1), reader.diary(1)) == ([], [], [], [])
    assert reader.alarms(1) == []
    assert reader.latest_diary_line() is None
    assert (reader.picture("0" * 64), reader.comparison(1), reader.commands_after(1, 0)) == (None, None, [])


def test_small_pictures_are_found_at_once_and_larger_ones_left_out(writer, reader):
    run_id = writer.create_run(CONFIG, 10)
    step = step_done(0, num_groups=2)
    writer.record(run_id, step)
    writer.flush()
    pngs = {sha256(sample.png).hexdigest(): sample.png for group in step.groups for sample in group.samples}
    largest = max(map(len, pngs.values()))
    assert reader.small_pictures([*pngs, "0" * 64], largest) == pngs
    assert reader.small_pictures(list(pngs), largest - 1) == {
        sha: png for sha, png in pngs.items() if len(png) < largest
    }
    assert reader.small_pictures([], largest) == {}


@settings(deadline=None, max_examples=60)
@given(after=st.integers(-1, 2 * NUM_STEPS), limit=st.integers(1, NUM_STEPS + 5))
def test_long_runs_are_thinned_evenly(long_run, after, limit):
    every = [2 * number for number in range(NUM_STEPS) if 2 * number > after]
    shown = [row.step for row in long_run.steps(1, after=after, limit=limit)]
    if len(every) <= limit:
        assert shown == every
        return
    assert len(shown) == limit
    assert shown[-1] == every[-1]
    assert limit == 1 or shown[0] == every[0]
    gaps = {second - first for first, second in pairwise(shown)}
    assert not gaps or max(gaps) - min(gaps) <= 2


def test_the_newest_step_is_known(writer, reader, run_id):
    for step in (0, 1, 2):
        writer.record(run_id, step_done(step))
    writer.flush()
    assert reader.latest_step(run_id) == 2


def test_steps_are_read_from_a_cursor(writer, reader, run_id):
    for step in range(4):
        writer.record(run_id, replace(step_done(step), metrics=metrics(step)))
    writer.flush()
    assert [(row.step, row.metrics) for row in reader.steps(run_id, after=1)] == [(2, metrics(2)), (3, metrics(3))]


def test_the_diary_is_read_from_a_cursor(writer, reader, run_id):
    for step in range(5):
        writer.record(run_id, Warned(step=step, message=f"warning {step}"))
    writer.flush()
    first = reader.diary(run_id, limit=2)
    rest = reader.diary(run_id, after=first[-1].id)
    assert [row.message for row in first + rest] == [f"warning {step}" for step in range(5)]
    newest = reader.diary(run_id, after=first[0].id, limit=2, newest=True)
    assert [row.message for row in newest] == ["warning 3", "warning 4"]
    assert reader.latest_diary_line() == newest[-1].id


def traced(path, listener):
    """A reader whose statements are told to the listener just before they run."""

    def opener(path):
        db = open_for_reading(path)
        db.conn.set_trace_callback(lambda sql: listener(sql) if sql.startswith("SELECT") else None)
        return db

    return Reader(path, opener=opener)


def test_groups_take_two_queries_however_many_there_are(writer, run_id, path):
    writer.record(run_id, step_done(0, num_groups=12, group_size=4))
    writer.flush()
    asked = []
    with closing(traced(path, asked.append)) as reader:
        assert [len(group.samples) for group in reader.groups(run_id, 0)] == [4] * 12
    assert len(asked) == 2


@pytest.mark.skipif(
    journal_mode_for(sqlite3.sqlite_version_info) != "wal", reason="without WAL nobody writes while another reads"
)
def test_groups_and_their_samples_are_of_one_moment(writer, run_id, path):
    writer.record(run_id, step_done(0))
    writer.record(run_id, RunEnded(step=0, reason=EndReason.STOPPED))
    writer.flush()

    def delete_between(sql):
        if "FROM samples" in sql:
            writer.delete_run(run_id)

    with closing(traced(path, delete_between)) as reader:
        assert [len(group.samples) for group in reader.groups(run_id, 0)] == [3, 3]
        assert reader.groups(run_id, 0) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda writer, run_id: writer.record(run_id, step_done(0)),
        lambda writer, run_id: writer.record(run_id, Preview(step=0, samples=())),
        lambda writer, run_id: writer.record(run_id, PhaseChanged(step=0, phase=Phase.SAMPLING, done=0, total=1)),
        lambda writer, run_id: writer.send(run_id, Stop()),
        lambda writer, run_id: writer.set_notes(run_id, "x"),
        lambda writer, run_id: writer.mark_interrupted(),
    ],
)
def test_every_change_is_told_to_every_reader(writer, reader, run_id, path, change):
    other = Reader(path)
    before = reader.change_token()
    assert other.change_token() == before
    change(writer, run_id)
    writer.flush()
    assert reader.change_token() == other.change_token() != before
    other.close()


def test_many_threads_may_read_while_one_writes(writer, reader, run_id):
    def consistent(_):
        row = reader.run(run_id)
        return row.step <= (reader.latest_step(run_id) if reader.steps(run_id) else -1)

    with ThreadPoolExecutor(12) as pool:
        answers = pool.map(consistent, range(200))
        for step in range(20):
            writer.record(run_id, step_done(step))
        assert all(answers)
