"""What is on disk after a process was killed, at every point where it could have been."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import partial

import pytest
from recorded_runs import CONFIG, seen_steps, step_done
from watched import watched_by

from app.store.database import open_for_writing
from app.store.reader import Reader
from app.store.rows import RunState
from app.store.writer import Writer

WHOLE = 6
pytestmark = pytest.mark.slow

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")


def killed(work):
    """Runs work in a child that is to kill itself; fails when it did not."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def small_step(step):
    return step_done(step, num_groups=1, group_size=2)


def kill_self():
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(10)


class Fate:
    """Kills the process just before the nth statement after it was armed."""

    def __init__(self, num_statements):
        self.left = num_statements
        self.is_armed = False

    def __call__(self, sql):
        if self.is_armed:
            if self.left == 0:
                kill_self()
            self.left -= 1


@needs_fork
@pytest.mark.parametrize("mode", ["wal", "truncate"])
def test_killed_at_any_statement_a_step_is_there_whole_or_not_at_all(tmp_path, mode):
    seen = []
    for num_statements in range(40):
        path = tmp_path / f"{num_statements}.db"

        def work(path=path, num_statements=num_statements):
            fate = Fate(num_statements)
            writer = Writer(path, opener=watched_by(fate, journal_mode=mode))
            run_id = writer.create_run(CONFIG, 10)
            writer.record(run_id, small_step(0))
            writer.flush()
            fate.is_armed = True
            writer.record(run_id, small_step(1))
            writer.set_notes(run_id, "written after the step")

        if not killed(work):
            break
        opener = partial(open_for_writing, journal_mode=mode)
        with Writer(path, opener=opener) as writer, closing(Reader(path)) as reader:
            seen.append(seen_steps(reader, 1))
            assert writer.mark_interrupted() == [1]
            assert reader.run(1).state == RunState.INTERRUPTED
            writer.record(1, small_step(1))
            writer.flush()
            assert seen_steps(reader, 1) == {0: 2, 1: 2}
    statements_of_a_step = 3 + 2 + 1 + 2  # begin, count, commit; step, pictures; group; samples
    statements_of_notes = 3 + 2
    assert seen == [{0: 2}] * statements_of_a_step + [{0: 2, 1: 2}] * statements_of_notes


@needs_fork
def test_a_log_cut_off_anywhere_gives_a_whole_number_of_steps(tmp_path):
    path = tmp_path / "lab.db"
    log = path.with_name("lab.db-wal")
    sizes = tmp_path / "sizes"

    def work():
        writer = Writer(path, opener=partial(open_for_writing, journal_mode="wal"))
        run_id = writer.create_run(CONFIG, 10)
        for step in range(2):
            writer.record(run_id, step_done(step))
            writer.flush()
            with sizes.open("a") as file:
                file.write(f"{log.stat().st_size}\n")
        kill_self()

    assert killed(work)
    start, end = map(int, sizes.read_text().split())
    main_bytes, log_bytes = path.read_bytes(), log.read_bytes()
    seen = []
    for number, cut in enumerate([*range(start, end, 2999), end]):
        copy = tmp_path / f"copy{number}.db"
        copy.write_bytes(main_bytes)
        copy.with_name(f"{copy.name}-wal").write_bytes(log_bytes[:cut])
        with Writer(copy), closing(Reader(copy)) as reader:
            seen.append(seen_steps(reader, 1))
    half_written = seen.count({0: WHOLE})
    assert half_written > 5
    assert seen == [{0: WHOLE}] * half_written + [{0: WHOLE, 1: WHOLE}] * (len(seen) - half_written)
    assert seen[-1] == {0: WHOLE, 1: WHOLE}


CHILD = """
import sys
from pathlib import Path
from app.store.writer import Writer
from recorded_runs import CONFIG, step_done
with Writer(Path(sys.argv[1])) as writer:
    run_id = writer.create_run(CONFIG, 50)
    print(run_id, flush=True)
    for step in range(50):
        writer.record(run_id, step_done(step))
"""


def test_another_process_sees_every_step_whole_and_in_order(path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with Writer(path) as writer, closing(Reader(path)) as reader:
        own = writer.create_run(CONFIG, 50)
        command = [sys.executable, "-c", CHILD, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
            run_id = int(child.stdout.readline())
            seen, num_looks = [], 0
            deadline = time.monotonic() + 20
            while len(seen) < 50 and time.monotonic() < deadline:
                for row in reader.steps(run_id, after=seen[-1] if seen else -1):
                    assert [len(group.samples) for group in reader.groups(run_id, row.step)] == [3, 3]
                    seen.append(row.step)
                writer.record(own, step_done(num_looks))
                num_looks += 1
            assert child.wait(20) == 0
        writer.flush()
        assert seen == list(range(50))
        assert num_looks > 3
        assert seen_steps(reader, own) == dict.fromkeys(range(num_looks), WHOLE)
