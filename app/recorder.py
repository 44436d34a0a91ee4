"""Events to the store, with patience: a full disk makes a run wait, not fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from app.stops import Stops
from app.store.rows import Agreement
from app.store.writer import Writer
from dgpo_core.errors import CheckpointError, StoreError, UnstorableError
from dgpo_core.events import Event

Asked = ParamSpec("Asked")
Found = TypeVar("Found")
_WAITS = "The run waits and goes on by itself."
_WAITS_TO_END = "The run waits to be saved and ended. A second Stop ends it at once and loses what is not saved."


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often a write that is refused is tried, with how many seconds between two tries; ten minutes in all."""

    num_tries: int = 300
    seconds: float = 2.0
    wait: Callable[[float], None] = time.sleep


TEN_MINUTES = Patience()


class Recorder:
    """Records one run's events. trouble is what keeps it from writing now, for the page; empty when nothing does."""

    def __init__(
        self, writer: Writer, run_id: int, *, patience: Patience = TEN_MINUTES, stops: Stops | None = None
    ) -> None:
        self.run_id = run_id
        self._writer, self._patience, self._stops = writer, patience, stops or Stops()
        self.trouble = ""

    def record(self, event: Event) -> None:
        """Hands the event to the store; while the store cannot write, waits and tries again.

        Raises:
            StoreError: it still could not when the patience ended, or the run was asked to stop a second time.
            UnstorableError: an event before it holds what cannot be stored; waiting would not help.
        """
        self.patiently(lambda: self._writer.record(self.run_id, event))

    def flush(self) -> None:
        """Returns when all is on disk; waits and raises like record()."""
        self.patiently(self._writer.flush)

    def put_agreements(self, agreements: Sequence[Agreement]) -> None:
        """Keeps how labels agree; waits and raises like record()."""
        self.patiently(lambda: self._writer.put_agreements(agreements))

    def patient(self, read: Callable[Asked, Found]) -> Callable[Asked, Found]:
        """A reading of the store that waits like record(), while the store cannot be read."""

        def patiently(*asked: Asked.args, **named: Asked.kwargs) -> Found:
            found: list[Found] = []
            self.patiently(lambda: found.append(read(*asked, **named)))
            return found[-1]

        return patiently

    def patiently(self, write: Callable[[], None]) -> None:
        """Writes something else of the run's, or reads; waits like record(), and raises what write raised last."""
        for tried in range(1, self._patience.num_tries + 1):
            try:
                write()
            except (StoreError, CheckpointError) as error:
                is_hopeless = isinstance(error, UnstorableError)
                if is_hopeless or tried == self._patience.num_tries or self._stops.is_asked_again:
                    self.trouble = ""
                    raise
                self.trouble = f"{error} {_WAITS_TO_END if self._stops.is_asked else _WAITS}"
                self._patience.wait(self._patience.seconds)
            else:
                self.trouble = ""
                return
