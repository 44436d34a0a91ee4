"""The commands of a live run, from the store to the trainer."""

from __future__ import annotations

import time
from functools import partial

from app.recorder import Recorder
from app.stops import Stops
from app.store.reader import Reader
from app.store.writer import Writer
from dgpo_core.events import Command, Stop

SECONDS_BETWEEN_READS = 0.05


class CommandFeed:
    """The commands of a recorder's run, each given once; reads the store at most every SECONDS_BETWEEN_READS.

    A stop asked for in this process comes first, and without the store. Commands are read, and that one was taken is
    written, with the recorder's patience.
    """

    def __init__(self, reader: Reader, writer: Writer, recorder: Recorder, stops: Stops) -> None:
        self._commands_after = recorder.patient(reader.commands_after)
        self._writer, self._recorder = writer, recorder
        self._stops = stops
        self._last_id = 0
        self._next_read = 0.0
        self._waiting: list[Command] = []

    def next(self) -> Command | None:
        """The oldest command not given yet; None where there is none."""
        if self._stops.is_asked:
            return Stop()
        if not self._waiting and time.monotonic() >= self._next_read:
            for command_id, command in self._commands_after(self._recorder.run_id, self._last_id):
                self._last_id = command_id
                self._recorder.patiently(partial(self._writer.finish_command, command_id))
                self._waiting.append(command)
            self._next_read = time.monotonic() + SECONDS_BETWEEN_READS
        given = self._waiting.pop(0) if self._waiting else None
        if isinstance(given, Stop):
            self._stops.ask()  # so that the next one is known for the second
        return given
