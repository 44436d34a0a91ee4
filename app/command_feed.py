"""The commands of a live run, from the store to the trainer."""

from __future__ import annotations

import time
from threading import Event as Flag

from app.store.reader import Reader
from app.store.writer import Writer
from dgpo_core.events import Command, Stop

SECONDS_BETWEEN_READS = 0.05


class CommandFeed:
    """The commands of one run, each given once; reads the store at most every SECONDS_BETWEEN_READS.

    A stop asked for in this process comes first, and without the store.
    """

    def __init__(self, reader: Reader, writer: Writer, run_id: int, is_stopping: Flag) -> None:
        self._reader, self._writer, self._run_id = reader, writer, run_id
        self._is_stopping = is_stopping
        self._last_id = 0
        self._next_read = 0.0
        self._waiting: list[Command] = []

    def next(self) -> Command | None:
        """The oldest command not given yet; None where there is none."""
        if self._is_stopping.is_set():
            return Stop()
        if not self._waiting and time.monotonic() >= self._next_read:
            for command_id, command in self._reader.commands_after(self._run_id, self._last_id):
                self._last_id = command_id
                self._writer.finish_command(command_id)
                self._waiting.append(command)
            self._next_read = time.monotonic() + SECONDS_BETWEEN_READS
        return self._waiting.pop(0) if self._waiting else None
