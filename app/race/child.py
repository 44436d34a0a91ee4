"""A race begun from the page: the same command as in a terminal, in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import IO

from app.race.plan import load_race
from app.settings import Settings
from app.store.reader import Reader
from dgpo_core.errors import StoreError

PROJECT = Path(__file__).parents[2]
SECONDS_TO_STOP = 60.0
INTERRUPTED = (-signal.SIGTERM, -signal.SIGINT)


class RaceChild:
    """At most one race at a time. Its runs reach the page through the store, as any other process's do."""

    def __init__(self, settings: Settings, reader: Reader) -> None:
        self._settings, self._reader = settings, reader
        self._one_at_a_time = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self._name = ""

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, name: str) -> None:
        """Begins a shipped race, or goes on with it where it was cut short.

        Raises:
            ConfigError: there is no such race, or it cannot be run.
            StoreError: a race or a run is live.
        """
        load_race(name)
        with self._one_at_a_time:
            if self.is_running:
                raise StoreError(f"The race {self._name} is on; one at a time. Wait for its end or stop it first.")
            if live := self._reader.live_run():
                raise StoreError(
                    f"Run {live.id} ({live.name}) is live, and would be timed with the race. "
                    "Wait for its end or stop it first."
                )
            command = [sys.executable, "-m", "app", "race", name, "--folder", str(self._settings.folder.resolve())]
            if self._said is not None:
                self._said.close()
            self._said, self._name = TemporaryFile(), name  # noqa: SIM115 - open as long as the process may write
            self._process = subprocess.Popen(
                command,
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                start_new_session=True,  # Ctrl-C in the lab's terminal is for the lab, which then ends the race
            )

    def stop(self) -> None:
        """Ends the race after its run is saved; it can be gone on with.

        Raises:
            StoreError: no race was begun here.
        """
        if not self.is_running:
            raise StoreError("No race that was started on this page is on. Start one first.")
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def words(self) -> str:
        """How the race begun here stands; empty where none was."""
        if self._process is None:
            return ""
        if self.is_running:
            return f"The race {self._name} is on. Its runs are on the Train and Runs tabs too."
        if self._process.returncode == 0 or self._process.returncode in INTERRUPTED:
            return f"The race {self._name} has ended."
        return f"The race {self._name} ended early: {self._last_line() or 'it said nothing.'}"

    def close(self) -> None:
        """Ends a race that is on and waits until its run is saved."""
        if self.is_running and self._process is not None:
            self.stop()
            self._process.wait(SECONDS_TO_STOP)
        if self._said is not None:
            self._said.close()

    def _last_line(self) -> str:
        assert self._said is not None
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""
