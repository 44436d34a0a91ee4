"""Waiting for work that may raise, hang, or take long, without hanging oneself."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from multiprocessing.pool import ThreadPool
from typing import TypeVar

SECONDS_BETWEEN_LOOKS = 0.1
Answer = TypeVar("Answer")


class TookTooLongError(Exception):
    """The work is not done in its time. Its thread goes on: nothing can end a thread from outside."""


def within(
    seconds: float, work: Callable[[], Answer], look: Callable[[], None] | None = None
) -> tuple[Answer | None, BaseException | None]:
    """What the work gives, or the exception it raised; it runs in a daemon thread, which keeps no process alive.

    look is called every tenth of a second; what it raises passes through and leaves the work behind.

    Raises:
        TookTooLongError: there is no answer in time.
    """
    failures: list[BaseException] = []
    pool = ThreadPool(1)
    answer = pool.apply_async(work, error_callback=failures.append)
    pool.close()
    started = time.monotonic()
    while not answer.ready():
        left = seconds - (time.monotonic() - started)
        if left <= 0:
            raise TookTooLongError
        answer.wait(min(SECONDS_BETWEEN_LOOKS, left) if look or left < inf else None)
        if look is not None and not answer.ready():
            look()
    return (None, failures[0]) if failures else (answer.get(), None)
