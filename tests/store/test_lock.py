import os
import re
import signal
import subprocess
import sys

import pytest

from app.store.lock import LabLock
from dgpo_core.errors import StoreError


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lab", r"A lab is already open on .+ \(process {pid} on .+ since 20.+\)\. Use that one, close it, or"),
        ("training", r"A run is already training in .+ \(process {pid} on .+ since 20.+\)\. Wait for it or stop it"),
    ],
)
def test_a_held_lock_is_refused_and_its_owner_named(tmp_path, name, message):
    with LabLock(tmp_path, name) as first:
        second = LabLock(tmp_path, name)
        with pytest.raises(StoreError, match=message.format(pid=os.getpid())):
            second.acquire()
        assert (first.is_held, second.is_held) == (True, False)


def test_a_lock_can_be_taken_again_once_it_is_released(tmp_path):
    lock = LabLock(tmp_path, "lab")
    for _ in range(3):
        with lock:
            assert re.fullmatch(rf"process {os.getpid()} on \S+ since \S+", lock.owner())
        lock.release()
    with LabLock(tmp_path, "lab"):
        pass


def test_the_two_locks_do_not_meet(tmp_path):
    with LabLock(tmp_path, "lab"), LabLock(tmp_path, "training"):
        assert sorted(file.name for file in tmp_path.iterdir()) == ["lab.lock", "training.lock"]


def test_nobody_owns_a_lock_that_was_never_taken(tmp_path):
    assert LabLock(tmp_path, "lab").owner() == ""


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"lab\.lock cannot be written: No such file or directory"):
        LabLock(tmp_path / "missing", "lab").acquire()


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_holder_holds_nothing(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from app.store.lock import LabLock\n"
        "lock = LabLock(Path(sys.argv[1]), 'training'); lock.acquire(); print('held', flush=True); time.sleep(20)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as child:
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(StoreError, match=f"process {child.pid} on"):
            LabLock(tmp_path, "training").acquire()
        child.send_signal(signal.SIGKILL)
        child.wait()
    with LabLock(tmp_path, "training") as lock:
        assert f"process {os.getpid()} " in lock.owner()
