import json
import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest
from recorded_runs import CONFIG, examined, step_done

from app.store.commands import command_from_row
from app.store.reader import Reader
from app.store.rows import RunRow, RunState
from app.store.writer import Writer
from dgpo_core.errors import StoreError
from dgpo_core.events import (
    CheckpointSaved,
    Compare,
    ComparisonDone,
    Drawing,
    EndReason,
    GroupsPosted,
    Phase,
    PhaseChanged,
    PostedGroup,
    Preview,
    RunEnded,
    RunFailed,
    RunStarted,
    SampleNow,
    Stop,
)


def ended(writer, run_id, reason=EndReason.STOPPED):
    writer.record(run_id, RunEnded(step=0, reason=reason))
    writer.flush()


def test_a_new_run_is_about_to_start(writer, reader):
    run_id = writer.create_run(CONFIG, num_steps=10)
    row = reader.run(run_id)
    assert row == RunRow(
        id=run_id,
        name="first light",
        state=RunState.STARTING,
        created=row.created,
        ended=None,
        config=CONFIG,
        notes="",
        step=-1,
        num_steps=10,
        phase="",
        phase_done=0,
        phase_total=0,
        seconds_per_step=None,
        first_score=None,
        last_score=None,
        message="",
        details="",
    )
    assert reader.live_run() == row


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, "two\nlines", "nul\0"])
def test_a_name_that_cannot_be_shown_is_refused(writer, reader, run_id, name):
    with pytest.raises(StoreError, match="name must be 1 to 200 printable characters, got"):
        writer.create_run(CONFIG | {"name": name}, 10)
    with pytest.raises(StoreError, match="name must be 1 to 200 printable characters, got"):
        writer.rename(run_id, name)
    assert [row.name for row in reader.runs()] == ["first light"]


@pytest.mark.parametrize("text", ["", "<script>alert(1)</script>", "עברית 🎨 \0 e\u0301 '; DROP TABLE runs; --"])
def test_notes_are_kept_to_the_letter(writer, reader, run_id, text):
    writer.set_notes(run_id, text)
    assert reader.run(run_id).notes == text


def test_notes_that_cannot_be_stored_are_refused(writer, reader, run_id):
    writer.set_notes(run_id, "before")
    with pytest.raises(StoreError, match="Notes may have 100000 characters, got 100001"):
        writer.set_notes(run_id, "x" * 100_001)
    with pytest.raises(StoreError, match="half a character"):
        writer.set_notes(run_id, "\ud800")
    assert reader.run(run_id).notes == "before"


def test_a_renamed_run_keeps_its_config(writer, reader, run_id):
    writer.rename(run_id, "second light")
    row = reader.run(run_id)
    assert (row.name, row.config) == ("second light", CONFIG)


@pytest.mark.parametrize(
    "change",
    [
        lambda writer: writer.resume_run(77),
        lambda writer: writer.send(77, Stop()),
        lambda writer: writer.set_notes(77, "x"),
        lambda writer: writer.rename(77, "x"),
        lambda writer: writer.delete_run(77),
        lambda writer: writer.request_comparison(77, None, 1, 0),
    ],
)
def test_a_run_that_is_not_there_is_named(writer, change):
    with pytest.raises(StoreError, match="There is no run 77; it may have been deleted"):
        change(writer)


def test_commands_wait_in_order_until_they_are_finished(writer, reader, run_id):
    commands = [SampleNow(("a circle",), 2**64), Compare(1, None, 4, 0, Drawing(guidance_scale=4.5)), Stop()]
    ids = [writer.send(run_id, command) for command in commands]
    assert reader.commands_after(run_id, 0) == list(zip(ids, commands, strict=True))
    assert reader.commands_after(run_id, ids[0]) == list(zip(ids[1:], commands[1:], strict=True))
    writer.finish_command(ids[1])
    assert reader.commands_after(run_id, 0) == [(ids[0], commands[0]), (ids[2], commands[2])]


def test_a_comparison_that_an_earlier_version_asked_for_is_drawn_as_its_run_draws():
    body = '{"request_id": 1, "step": null, "num_prompts": 4, "seed": 0}'
    assert command_from_row("Compare", body) == Compare(1, None, 4, 0)


def test_a_run_that_has_ended_takes_no_commands(writer, reader, run_id):
    ended(writer, run_id)
    with pytest.raises(StoreError, match=r"Run 1 \(first light\) is stopped, so it cannot take Stop\. Start or resume"):
        writer.send(run_id, Stop())
    assert reader.commands_after(run_id, 0) == []


@pytest.mark.parametrize(
    "event", [RunEnded(step=0, reason=EndReason.FINISHED), RunFailed(step=0, message="m", details="d")]
)
def test_a_resumed_run_starts_afresh(writer, reader, run_id, event):
    writer.send(run_id, Stop())
    writer.record(run_id, event)
    writer.resume_run(run_id)
    row = reader.run(run_id)
    assert (row.state, row.ended, row.message, row.details) == (RunState.STARTING, None, "", "")
    assert reader.commands_after(run_id, 0) == []


def test_a_live_run_cannot_be_resumed(writer, run_id):
    with pytest.raises(StoreError, match=r"Run 1 \(first light\) is starting; only a run that has ended"):
        writer.resume_run(run_id)


@pytest.mark.parametrize("phase", [None, Phase.SAMPLING, Phase.PAUSED])
def test_a_live_run_cannot_be_deleted(writer, reader, run_id, phase):
    if phase:
        writer.record(run_id, PhaseChanged(step=0, phase=phase, done=0, total=1))
    with pytest.raises(StoreError, match=r"Run 1 \(first light\) is \w+\. Stop it first, then delete it\."):
        writer.delete_run(run_id)
    assert reader.run(run_id) is not None


def test_a_deleted_run_gives_back_its_space_and_names_its_checkpoints(writer, reader, run_id, path):
    other = writer.create_run(CONFIG, 10)
    shared = replace(examined(1), png=b"shared" * 10)
    large = [replace(examined(number), png=bytes([number]) * 200_000) for number in range(10)]
    writer.record(run_id, Preview(step=0, samples=(*large, shared)))
    writer.record(other, Preview(step=0, samples=(shared,)))
    for step in (5, 10):
        writer.record(run_id, CheckpointSaved(step=step, folder=f"step-{step}", num_bytes=1))
    ended(writer, run_id)
    (kept,) = {row.sha for row in reader.previews(other)}
    assert writer.delete_run(run_id) == ["step-5", "step-10"]
    assert [row.id for row in reader.runs()] == [other]
    assert reader.picture(kept) == shared.png
    assert writer.create_run(CONFIG, 10) > other
    reader.close()
    writer.close()
    assert path.stat().st_size < 500_000


def test_interrupted_runs_are_marked_and_what_was_asked_of_them_dropped(writer, reader, run_id):
    finished, running, paused = (writer.create_run(CONFIG, 10) for _ in range(3))
    ended(writer, finished, EndReason.FINISHED)
    writer.record(running, RunStarted(first_step=0, num_steps=10, num_trainable=1))
    writer.record(running, step_done(0))
    writer.record(paused, PhaseChanged(step=0, phase=Phase.PAUSED, done=0, total=1))
    writer.send(running, Stop())
    done, awaited = (writer.request_comparison(finished, step, 1, 0) for step in (1, 2))
    writer.record(finished, ComparisonDone(request_id=done, step=1, before=(), after=()))
    assert writer.mark_interrupted() == [run_id, running, paused]
    states = {row.id: (row.state, row.ended is None) for row in reader.runs()}
    assert states == {
        run_id: (RunState.INTERRUPTED, False),
        finished: (RunState.FINISHED, False),
        running: (RunState.INTERRUPTED, False),
        paused: (RunState.INTERRUPTED, False),
    }
    assert reader.live_run() is None
    assert reader.diary(running)[-1].message == "The process that trained this run ended. It can be resumed."
    assert reader.commands_after(running, 0) == []
    assert (reader.comparison(done).is_done, reader.comparison(done).message) == (True, "")
    assert "closed before this comparison was drawn" in reader.comparison(awaited).message
    assert writer.mark_interrupted() == []


def test_a_failed_comparison_says_why_and_a_done_one_stays_done(writer, reader, run_id):
    first, second = (writer.request_comparison(run_id, None, 1, 0) for _ in range(2))
    writer.record(run_id, ComparisonDone(request_id=second, step=1, before=(), after=()))
    for request_id in (first, second):
        writer.fail_comparison(request_id, "No memory left.")
    rows = [(row.id, row.is_done, row.message) for row in reader.comparisons(run_id)]
    assert rows == [(second, True, ""), (first, False, "No memory left.")]


def test_what_finds_nothing_to_do_is_no_change_and_what_finds_something_is(writer, reader, run_id):
    writer.flush()
    before = reader.change_token()
    assert writer.lease_next("ann") is None
    assert reader.change_token() == before
    writer.record(run_id, GroupsPosted(step=0, groups=(PostedGroup(0, "a red circle", (b"one", b"two")),)))
    writer.flush()
    posted = reader.change_token()
    assert posted != before
    assert writer.lease_next("ann") is not None
    assert reader.change_token() not in (before, posted)


def test_phases_are_written_at_most_twice_a_second_and_the_last_one_always(writer, reader, run_id):
    writer.flush()
    tokens, shown = set(), []
    started = time.monotonic()
    for done in range(2000):
        writer.record(run_id, PhaseChanged(step=0, phase=Phase.SAMPLING, done=done, total=2000))
    assert time.monotonic() - started < 2
    started = time.monotonic()
    while time.monotonic() - started < 1.7:
        writer.record(run_id, PhaseChanged(step=0, phase=Phase.SCORING, done=0, total=1))
        tokens.add(reader.change_token())
        time.sleep(0.01)
    writer.record(run_id, PhaseChanged(step=0, phase=Phase.PAUSED, done=1, total=1))
    while not shown or (shown[-1].phase != "paused" and time.monotonic() - started < 10):
        shown.append(reader.run(run_id))
        time.sleep(0.05)
    assert 2 <= len(tokens) <= 5
    assert (shown[-1].state, shown[-1].phase_done) == (RunState.PAUSED, 1)


def test_a_phase_told_before_the_end_does_not_wake_an_ended_run(writer, reader, run_id):
    writer.record(run_id, PhaseChanged(step=0, phase=Phase.SAVING, done=0, total=1))
    ended(writer, run_id)
    writer.flush()
    row = reader.run(run_id)
    assert (row.state, row.phase) == (RunState.STOPPED, "")


def test_many_threads_may_write(writer, reader):
    def work():
        run_id = writer.create_run(CONFIG, 10)
        for step in range(5):
            writer.record(run_id, step_done(step))
        writer.set_notes(run_id, str(run_id))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(row.step, row.notes) for row in reader.runs()] == [(4, str(run_id)) for run_id in range(6, 0, -1)]


def test_closing_writes_what_is_left(path):
    writer = Writer(path)
    run_id = writer.create_run(CONFIG, 10)
    for step in range(8):
        writer.record(run_id, step_done(step))
    for done in (2, 3):
        writer.record(run_id, PhaseChanged(step=8, phase=Phase.SAMPLING, done=done, total=8))
        writer.flush() if done == 2 else writer.close()
    writer.close()
    with closing(Reader(path)) as reader:
        row = reader.run(run_id)
        assert (row.step, row.phase_done) == (7, 3)


def test_a_closed_writer_says_so(path):
    writer = Writer(path)
    writer.close()
    with pytest.raises(StoreError, match=r"is closed\. Open the lab again"):
        writer.flush()
    with pytest.raises(StoreError, match=r"is closed\. Open the lab again"):
        writer.record(1, step_done(0))


def test_a_config_that_is_not_json_fails_in_the_callers_hands(writer, reader):
    with pytest.raises(TypeError):
        writer.create_run({"name": "x", "loss": object()}, 10)
    assert reader.runs() == []
    assert json.loads(json.dumps(CONFIG)) == CONFIG
