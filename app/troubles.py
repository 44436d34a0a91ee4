"""What keeps a run waiting, said on a terminal, and heard again by the page that began a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event as Flag
from threading import Thread

SECONDS_BETWEEN_LOOKS = 0.5
WAITS = "Trouble: "
GOES_ON = "The trouble is over."


@contextmanager
def troubles_said(trouble: Callable[[], str], say: Callable[[str], None]) -> Iterator[None]:
    """While inside, a thread of its own says each trouble as it comes, and that it is over, each in one line.

    trouble() is empty where there is none.
    """
    has_ended = Flag()

    def listen() -> None:
        said, is_last = "", False
        while not is_last:
            is_last = has_ended.wait(SECONDS_BETWEEN_LOOKS)
            words = trouble()
            if words != said:
                say(f"{WAITS}{' '.join(words.splitlines())}" if words else GOES_ON)
            said = words

    thread = Thread(target=listen, name="troubles", daemon=True)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()


def trouble_after(line: str, before: str) -> str:
    """What keeps a run waiting once it has said this line; a line about anything else leaves that as it was before."""
    if line == GOES_ON:
        return ""
    return line.removeprefix(WAITS) if line.startswith(WAITS) else before
