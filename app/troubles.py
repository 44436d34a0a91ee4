"""What keeps a run waiting, said on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event as Flag
from threading import Thread

SECONDS_BETWEEN_LOOKS = 0.5


@contextmanager
def troubles_said(trouble: Callable[[], str], say: Callable[[str], None]) -> Iterator[None]:
    """While inside, a thread of its own says each trouble as it comes; trouble() is empty where there is none."""
    has_ended = Flag()

    def listen() -> None:
        said = ""
        while not has_ended.wait(SECONDS_BETWEEN_LOOKS):
            words = trouble()
            if words and words != said:
                say(words)
            said = words

    thread = Thread(target=listen, name="troubles", daemon=True)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()
