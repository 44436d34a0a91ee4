"""Lines on the terminal."""

import os
from contextlib import suppress

from app.progress import say


def test_a_line_that_nobody_hears_any_more_stops_nothing(monkeypatch):
    went_on = False
    read, write = os.pipe()
    os.close(read)
    with suppress(BrokenPipeError), open(write, "w", buffering=1) as terminal:  # closing it writes what is left
        monkeypatch.setattr("sys.stdout", terminal)
        say("held-out score after 3 steps: 0.500")
        went_on = True
    assert went_on
