"""Obeying commands: at every safe point inside a step, and between steps."""

from __future__ import annotations

import time
from collections.abc import Callable

from dgpo_core.events import Command, Compare, ExamineNow, Pause, Resume, SampleNow, SaveNow, Stop

NextCommand = Callable[[], Command | None]
Errand = SaveNow | SampleNow | ExamineNow | Compare
SECONDS_BETWEEN_LOOKS = 0.1


class StopRequested(Exception):
    """Raised at a safe point inside a step after a Stop; the trainer catches it."""


class Control:
    """Takes commands as they come and keeps those that must wait for the end of the step."""

    def __init__(self, next_command: NextCommand, wait: Callable[[float], None] = time.sleep) -> None:
        self._next_command = next_command
        self._wait = wait
        self._errands: list[Errand] = []
        self.is_paused = False

    def look(self) -> None:
        """Takes every waiting command. Called before each denoising step and micro-batch.

        Raises:
            StopRequested: a Stop was among them.
        """
        while (command := self._next_command()) is not None:
            if isinstance(command, Stop):
                raise StopRequested
            if isinstance(command, Pause | Resume):
                self.is_paused = isinstance(command, Pause)
            else:
                self._errands.append(command)

    def run_errands(self, run: Callable[[Errand], None], on_pause: Callable[[], None]) -> None:
        """Runs what was asked for between steps, and stays here while paused, still running errands."""
        is_told = False
        self.look()
        while self._errands or self.is_paused:
            if self._errands:
                run(self._errands.pop(0))
                is_told = False
            else:
                if not is_told:
                    on_pause()
                    is_told = True
                self._wait(SECONDS_BETWEEN_LOOKS)
            self.look()
