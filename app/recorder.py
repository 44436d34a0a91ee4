"""Events to the store, with patience: a full disk makes a run wait, not fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from app.store.rows import Agreement
from app.store.writer import Writer
from dgpo_core.errors import StoreError
from dgpo_core.events import Event

SECONDS_BETWEEN_TRIES = 2.0
NUM_TRIES = 300


class Recorder:
    """Records one run's events. trouble is what keeps the store from writing now, for the page; empty when nothing."""

    def __init__(
        self,
        writer: Writer,
        run_id: int,
        *,
        num_tries: int = NUM_TRIES,
        wait: Callable[[float], None] = time.sleep,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.run_id = run_id
        self._writer = writer
        self._num_tries, self._wait, self._is_stopping = num_tries, wait, is_stopping
        self.trouble = ""

    def record(self, event: Event) -> None:
        """Hands the event to the store; while the store cannot write, waits and tries again.

        Raises:
            StoreError: it still could not after ten minutes, or the run is to stop.
        """
        self.patiently(lambda: self._writer.record(self.run_id, event))

    def flush(self) -> None:
        """Returns when all is on disk; waits and raises like record()."""
        self.patiently(self._writer.flush)

    def put_agreements(self, agreements: Sequence[Agreement]) -> None:
        """Keeps how labels agree; waits and raises like record()."""
        self.patiently(lambda: self._writer.put_agreements(agreements))

    def patiently(self, write: Callable[[], None]) -> None:
        """Writes something else of the run's; waits and raises like record()."""
        for tried in range(1, self._num_tries + 1):
            try:
                write()
            except StoreError as error:
                if tried == self._num_tries or self._is_stopping():
                    self.trouble = ""
                    raise
                self.trouble = f"{error} The run waits and goes on by itself."
                self._wait(SECONDS_BETWEEN_TRIES)
            else:
                self.trouble = ""
                return
