"""The thread that owns the one writing connection of a process, and the queue in front of it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Lock, Thread
from time import monotonic
from typing import Any, TypeVar

from sqlite_utils import Database
from sqlite_utils.utils import sqlite3

from app.store.database import Opener, file_identity, store_error, transaction
from app.store.recording import record_event
from dgpo_core.errors import LabError, StoreError, UnstorableError
from dgpo_core.events import Event, PhaseChanged

Value = TypeVar("Value")

QUEUED_JOBS = 4  # a job can carry hundreds of megabytes of pictures
PHASE_SECONDS = 0.5
PATIENCE_SECONDS = 0.2

# The fault of the values: another try would end the same way.
_UNSTORABLE = (
    sqlite3.IntegrityError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    sqlite3.DataError,
    UnicodeError,
    OverflowError,
)
# The fault of the disk, or of another program: worth another try.
_REFUSED = (sqlite3.Error, StoreError)


@dataclass(frozen=True, slots=True)
class _Record:
    """An event to write, that nobody waits for."""

    run_id: int
    event: Event


@dataclass(frozen=True, slots=True)
class _Call:
    """A job somebody waits for; without work, it only waits for the jobs before it."""

    work: Callable[[Database], Any] | None
    future: Future[Any] = field(default_factory=Future)


class WritingThread:
    """Does one job after another, each in a transaction of its own.

    An event that the disk refuses is kept, with those behind it, and tried again before the next job. An
    exception that is neither the disk's nor the values' is a bug; it ends the thread, and every later call says so.
    """

    def __init__(self, path: Path, opener: Opener) -> None:
        self._path = path
        self._db = opener(path)
        self._file = file_identity(path)
        self._pid = os.getpid()
        self._jobs: Queue[_Record | _Call | None] = Queue(QUEUED_JOBS)
        self._refused: deque[_Record] = deque()
        self._refusal: StoreError | None = None
        self._dropped: UnstorableError | None = None
        self._phases: dict[int, PhaseChanged] = {}
        self._phases_lock = Lock()
        self._phases_written = 0.0
        self._is_closed = False
        self._thread = Thread(target=self._serve, name="store-writer", daemon=True)
        self._thread.start()

    def record(self, run_id: int, event: Event) -> None:
        """Hands over an event; waits while the queue is full. A PhaseChanged only replaces the one before it."""
        self._check_usable()
        if isinstance(event, PhaseChanged):
            with self._phases_lock:
                self._phases[run_id] = event
            return
        if self._refusal is not None:
            self._answer_to(_Call(None))
        self._raise_dropped()
        self._put(_Record(run_id, event))

    def leave(self, run_id: int, event: Event) -> None:
        """Hands over an event that is kept, even while those before it are refused, until some call finds room."""
        self._put(_Record(run_id, event))

    @property
    def refusal(self) -> str:
        """Why events wait, in words; empty while none does."""
        return str(self._refusal or "")

    def call(self, work: Callable[[Database], Value]) -> Value:
        """What work returns, once its transaction and all before it are on disk."""
        return self._answer_to(_Call(work))

    def flush(self) -> None:
        """Returns when everything recorded is on disk; raises StoreError otherwise."""
        self._answer_to(_Call(None))
        self._raise_dropped()

    def close(self) -> None:
        """Does the jobs that wait, then closes the connection; raises StoreError if events were lost."""
        if self._is_closed:
            return
        self._is_closed = True
        while self._thread.is_alive():
            try:
                self._jobs.put(None, timeout=PATIENCE_SECONDS)
                break
            except Full:
                continue
        self._thread.join()
        self._raise_dropped()
        if self._refused:
            why = self._refusal or "Writing ended in an error that the console shows."
            raise StoreError(f"Events lost because they could not be stored: {len(self._refused)}. {why}")

    def _answer_to(self, call: _Call) -> Any:
        self._put(call)
        while not call.future.done():
            is_alive = self._thread.is_alive()
            wait([call.future], timeout=PATIENCE_SECONDS)
            if not is_alive and not call.future.done():
                self._check_alive()
        return call.future.result()

    def _put(self, job: _Record | _Call) -> None:
        while True:
            self._check_usable()
            try:
                self._jobs.put(job, timeout=PATIENCE_SECONDS)
                return
            except Full:
                continue

    def _check_usable(self) -> None:
        if self._is_closed:
            raise StoreError(f"The store {self._path} is closed. Open the lab again.")
        if os.getpid() != self._pid:
            raise StoreError(f"A forked process cannot write {self._path} through its parent's Writer. Open another.")
        self._check_alive()

    def _check_alive(self) -> None:
        if not self._thread.is_alive():
            raise StoreError(f"Writing {self._path} ended in an error that the console shows. Restart the lab.")

    def _raise_dropped(self) -> None:
        dropped, self._dropped = self._dropped, None
        if dropped is not None:
            raise dropped

    # From here on: only in the thread.

    def _serve(self) -> None:
        try:
            while True:
                try:
                    job = self._jobs.get(timeout=PATIENCE_SECONDS)
                except Empty:
                    self._write_phases_now_and_then()
                    continue
                if job is None:
                    self._retry_refused()
                    self._write_phases()
                    return
                if isinstance(job, _Record):
                    self._refused.append(job)
                    self._retry_refused()
                    self._write_phases_now_and_then()
                else:
                    self._answer(job)
        finally:
            self._db.close()

    def _answer(self, call: _Call) -> None:
        self._retry_refused()
        refusal = self._write_phases() or self._refusal
        if refusal is not None:
            call.future.set_exception(StoreError(str(refusal)))
            return
        try:
            call.future.set_result(self._write(call.work) if call.work else None)
        except LabError as error:
            call.future.set_exception(error)
        except (*_UNSTORABLE, sqlite3.Error) as error:
            call.future.set_exception(store_error(self._path, error))

    def _retry_refused(self) -> None:
        """Writes the waiting events in order, up to the first that the disk refuses."""
        while self._refused:
            record = self._refused[0]
            try:
                self._write(partial(record_event, run_id=record.run_id, event=record.event))
            except _UNSTORABLE as error:
                self._dropped = UnstorableError(str(store_error(self._path, error)))
            except _REFUSED as error:
                self._refusal = store_error(self._path, error)
                return
            self._refused.popleft()
        self._refusal = None

    def _write_phases_now_and_then(self) -> None:
        if monotonic() - self._phases_written >= PHASE_SECONDS:
            self._write_phases()

    def _write_phases(self) -> StoreError | None:
        """Writes the newest phase of each run; what the disk refuses waits for the next time, and is returned."""
        with self._phases_lock:
            phases, self._phases = self._phases, {}
        if not phases:
            return None
        self._phases_written = monotonic()
        try:
            self._write(partial(_record_phases, phases=phases))
        except _REFUSED as error:
            with self._phases_lock:
                self._phases = phases | self._phases
            return store_error(self._path, error)
        return None

    def _write(self, work: Callable[[Database], Value]) -> Value:
        if file_identity(self._path) != self._file:
            raise StoreError(
                f"{self._path} was moved or replaced while the lab was open. Put it back or restart the lab."
            )
        with transaction(self._db):
            before = self._db.conn.total_changes
            value = work(self._db)
            if self._db.conn.total_changes != before:  # a question that found nothing to do is no news for the pages
                self._db.execute("UPDATE lab SET changes = changes + 1")
        return value


def _record_phases(db: Database, phases: dict[int, PhaseChanged]) -> None:
    for run_id, phase in phases.items():
        record_event(db, run_id, phase)
