import threading
import time
from contextlib import closing

import pytest
from recorded_runs import CONFIG, seen_steps, step_done
from watched import Disk, watched_by

from app.store.database import open_for_writing, transaction
from app.store.reader import Reader
from app.store.writer import Writer
from dgpo_core.errors import StoreError
from dgpo_core.events import Phase, PhaseChanged

WHOLE = 6


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def writer(path, disk):
    with Writer(path, opener=watched_by(disk)) as writer:
        yield writer
        disk.heal()


def test_whichever_statement_fails_the_step_is_there_whole_or_not_at_all(writer, reader, disk, path):
    """In the manner of SQLite's own tests: fail the nth, for every n there is."""
    seen, told = [], set()
    for num_statements in range(40):
        run_id = writer.create_run(CONFIG, 10)
        writer.record(run_id, step_done(0))
        writer.flush()
        disk.break_after(num_statements)
        writer.record(run_id, step_done(1))
        try:
            writer.flush()
        except StoreError as error:
            told.add(str(error))
        else:
            break
        seen.append(seen_steps(reader, run_id))
        disk.heal()
        writer.flush()
        assert seen_steps(reader, run_id) == {0: WHOLE, 1: WHOLE}
    assert told == {f"{path} could not be read or written: disk I/O error. Try again."}
    statements_of_a_step = 3 + 2 + 2 * (1 + 3)  # begin, count, commit; step, pictures; groups and their samples
    assert seen == [{0: WHOLE}] * statements_of_a_step


def test_a_failing_disk_takes_no_more_than_fits_and_loses_nothing_it_took(writer, reader, disk, run_id):
    disk.break_after(0)
    taken = []
    for step in range(30):
        try:
            writer.record(run_id, step_done(step))
        except StoreError:
            continue
        taken.append(step)
    assert 1 <= len(taken) <= 6
    disk.heal()
    writer.flush()
    assert seen_steps(reader, run_id) == dict.fromkeys(taken, WHOLE)
    writer.record(run_id, step_done(30))
    writer.flush()
    assert reader.latest_step(run_id) == 30


def test_wishes_are_refused_while_the_disk_fails(writer, reader, disk, run_id):
    disk.break_after(0)
    with pytest.raises(StoreError, match="disk I/O error"):
        writer.set_notes(run_id, "lost")
    disk.heal()
    assert reader.run(run_id).notes == ""
    writer.set_notes(run_id, "kept")
    assert reader.run(run_id).notes == "kept"


def test_a_phase_that_could_not_be_written_is_written_later(writer, reader, disk, run_id):
    disk.break_after(0)
    writer.record(run_id, PhaseChanged(step=0, phase=Phase.SAMPLING, done=3, total=8))
    with pytest.raises(StoreError):
        writer.flush()
    disk.heal()
    writer.flush()
    assert reader.run(run_id).phase_done == 3


def test_closing_on_a_failing_disk_says_what_is_lost(path, disk):
    writer = Writer(path, opener=watched_by(disk))
    run_id = writer.create_run(CONFIG, 10)
    disk.break_after(0)
    writer.record(run_id, step_done(0))
    with pytest.raises(StoreError, match=r"could not be stored: 1\. .+ disk I/O error"):
        writer.close()


def test_closing_tries_once_more_what_the_disk_refused(path, disk):
    writer = Writer(path, opener=watched_by(disk))
    run_id = writer.create_run(CONFIG, 10)
    disk.break_after(0)
    writer.record(run_id, step_done(0))
    with pytest.raises(StoreError):
        writer.flush()
    disk.heal()
    writer.close()
    with closing(Reader(path)) as reader:
        assert seen_steps(reader, run_id) == {0: WHOLE}


def test_recording_waits_while_the_disk_is_slow(path):
    gate, is_slow = threading.Event(), threading.Event()
    with Writer(path, opener=watched_by(lambda sql: is_slow.is_set() and gate.wait())) as writer:
        run_id = writer.create_run(CONFIG, 50)
        is_slow.set()
        handed_over = []

        def trainer():
            for step in range(20):
                writer.record(run_id, step_done(step))
                handed_over.append(step)

        thread = threading.Thread(target=trainer)
        thread.start()
        deadline = time.monotonic() + 10
        while len(handed_over) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)
        writer.record(run_id, PhaseChanged(step=0, phase=Phase.SAMPLING, done=0, total=1))
        waiting = len(handed_over)
        gate.set()
        thread.join()
        writer.flush()
        assert waiting == 5
        with closing(Reader(path)) as reader:
            assert seen_steps(reader, run_id) == dict.fromkeys(range(20), WHOLE)


def test_a_full_disk_is_told_and_survived(path):
    opened = []

    def opener(path):
        opened.append(open_for_writing(path))
        return opened[0]

    with Writer(path, opener=opener) as writer, closing(Reader(path)) as reader:
        run_id = writer.create_run(CONFIG, 10)
        writer.record(run_id, step_done(0))
        writer.flush()
        num_pages = opened[0].execute("PRAGMA page_count").fetchone()[0]
        opened[0].execute(f"PRAGMA max_page_count = {num_pages + 3}")
        writer.record(run_id, step_done(1, num_groups=12))
        for _ in range(2):
            with pytest.raises(StoreError, match=r"The disk is full: .+lab\.db could not be written\. Free some space"):
                writer.flush()
        with pytest.raises(StoreError, match="The disk is full"):
            writer.record(run_id, step_done(2))
        assert seen_steps(reader, run_id) == {0: WHOLE}
        opened[0].execute("PRAGMA max_page_count = 1000000")
        writer.record(run_id, step_done(2))
        writer.flush()
        assert seen_steps(reader, run_id) == {0: WHOLE, 1: 36, 2: WHOLE}
        assert opened[0].execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_database_that_is_held_for_a_while_is_waited_for(path, writer, reader, run_id):
    with open_for_writing(path) as other:
        started = time.monotonic()
        with transaction(other):
            writer.record(run_id, step_done(0))
            time.sleep(1)
        writer.flush()
        assert 1 <= time.monotonic() - started < 4
    assert seen_steps(reader, run_id) == {0: WHOLE}


def test_a_database_that_is_held_for_too_long_is_told(path):
    def impatient(path):
        db = open_for_writing(path)
        db.execute("PRAGMA busy_timeout = 100")
        return db

    with Writer(path, opener=impatient) as writer, closing(Reader(path)) as reader:
        run_id = writer.create_run(CONFIG, 10)
        with open_for_writing(path) as other, transaction(other):
            writer.record(run_id, step_done(0))
            with pytest.raises(StoreError, match="was held by another program for more than 5 seconds"):
                writer.flush()
            assert reader.steps(run_id) == []
        writer.flush()
        assert seen_steps(reader, run_id) == {0: WHOLE}


def test_a_moved_database_is_not_written_into_the_void(path, writer, reader, run_id):
    path.rename(path.with_name("elsewhere.db"))
    writer.record(run_id, step_done(0))
    with pytest.raises(StoreError, match=r"lab\.db was moved or replaced while the lab was open\. Put it back"):
        writer.flush()
    path.with_name("elsewhere.db").rename(path)
    writer.flush()
    assert seen_steps(reader, run_id) == {0: WHOLE}


@pytest.mark.parametrize(
    ("run_id", "prompt", "message"),
    [(99, "a circle", "has no such run"), (1, "half \ud83d", "half a character")],
)
def test_what_cannot_be_stored_is_told_once_and_stops_nothing(writer, reader, run_id, prompt, message):
    there = writer.create_run(CONFIG, 10)
    event = step_done(0, num_groups=1)
    object.__setattr__(event.groups[0], "prompt", prompt)
    writer.record(run_id, event)
    with pytest.raises(StoreError, match=message):
        writer.flush()
    writer.record(there, step_done(1))
    writer.flush()
    assert seen_steps(reader, there) == {1: WHOLE}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_ends_the_thread_and_every_later_call_says_so(path):
    writer = Writer(path)
    run_id = writer.create_run(CONFIG, 10)
    writer.record(run_id, "not an event")
    for _ in range(2):
        with pytest.raises(StoreError, match=r"ended in an error that the console shows\. Restart the lab"):
            writer.flush()
    with pytest.raises(StoreError, match=r"could not be stored: 1\. Writing ended in an error"):
        writer.close()
    with Writer(path), closing(Reader(path)) as reader:
        assert reader.run(run_id) is not None
