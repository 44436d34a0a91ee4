"""A command of the lab in a process of its own: what a terminal would run, begun from the page."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from threading import Thread
from typing import IO

from app.settings import Settings
from app.troubles import trouble_after

PROJECT = Path(__file__).parents[1]
SECONDS_TO_STOP = 75.0
"""More than the minute that the child gives its own run to be saved."""
INTERRUPTED = (-signal.SIGTERM, -signal.SIGINT)


class Child:
    """`python -m app` with these arguments, on a lab's folder; it begins at once."""

    def __init__(self, settings: Settings, *arguments: str) -> None:
        command = [sys.executable, "-u", "-m", "app", *arguments, "--folder", str(settings.folder.resolve())]
        self._kept: str | None = None
        self._trouble = ""
        self._said = TemporaryFile()  # noqa: SIM115 - open as long as the process may write
        self._process = subprocess.Popen(
            command,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Ctrl-C in the lab's terminal is for the lab, which then ends its children
        )
        assert self._process.stdout is not None, "it was asked for"
        Thread(target=self._hear, args=(self._process.stdout,), name="child", daemon=True).start()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def trouble(self) -> str:
        """What keeps its run waiting now, such as a full disk; empty when nothing does."""
        return self._trouble if self.is_running else ""

    @property
    def has_failed(self) -> bool:
        """Whether it ended by itself, and badly."""
        return self._process.poll() not in (None, 0, *INTERRUPTED)

    @property
    def has_succeeded(self) -> bool:
        """Whether it ended by itself, and well."""
        return self._process.poll() == 0

    @property
    def last_words(self) -> str:
        """The last line that it wrote about an error; asked once it has ended, since both would move in one file."""
        if self._kept is not None:
            return self._kept
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing."

    def stop(self) -> None:
        """Asks it to end at its next safe point."""
        self._process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """Ends it if it is on, and waits until it has saved what it saves; one that takes too long is left alone."""
        if self.is_running:
            self.stop()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(SECONDS_TO_STOP)
        if self.is_running:
            return
        self._kept = self.last_words
        self._said.close()

    def _hear(self, said: IO[str]) -> None:
        """Reads what it says until it has ended; else it would wait for somebody to."""
        with said:
            for line in said:
                self._trouble = trouble_after(line.rstrip("\n"), self._trouble)
