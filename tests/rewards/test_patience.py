"""Waiting for work that raises, hangs or takes long."""

import subprocess
import sys
import time
from math import inf

import pytest
from project_tree import ROOT

from dgpo_core.rewards.patience import TookTooLongError, within


def test_the_answer_comes_back():
    assert within(inf, lambda: 3) == (3, None)


def test_an_exception_comes_back_as_it_was():
    error = KeyError("x")

    def work():
        raise error

    assert within(inf, work) == (None, error)


def test_work_that_takes_too_long_is_left_behind_in_time():
    started = time.monotonic()
    with pytest.raises(TookTooLongError):
        within(0.2, lambda: time.sleep(10))
    assert time.monotonic() - started < 2


def test_someone_looks_while_work_takes_long_and_never_where_it_is_quick():
    looks = []
    assert within(inf, lambda: 1, lambda: looks.append(1)) == (1, None)
    assert looks == []
    within(inf, lambda: time.sleep(0.5), lambda: looks.append(1))
    assert 2 <= len(looks) <= 5


def test_what_looking_raises_ends_the_wait():
    def look():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        within(inf, lambda: time.sleep(5), look)


def test_work_that_never_ends_keeps_no_process_alive():
    script = (
        "import time\nfrom dgpo_core.rewards.patience import TookTooLongError, within\n"
        "try:\n    within(0.2, lambda: time.sleep(100))\nexcept TookTooLongError:\n    print('left')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.returncode) == ("left\n", 0)
