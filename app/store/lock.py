"""One holder at a time of a folder's lab, or of its training, across processes.

The lock is the kernel's and dies with its process, so a killed lab leaves nothing to clean up. It sits on a
file of its own: opening and closing the database beside SQLite would drop SQLite's locks.
"""

from __future__ import annotations

import os
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO

from dgpo_core.errors import StoreError

_HELD = {
    "lab": "A lab is already open on {folder} ({owner}). Use that one, close it, or choose another folder.",
    "training": "A run is already training in {folder} ({owner}). Wait for it or stop it first.",
}

if sys.platform == "win32":
    import msvcrt

    _BYTE_LOCKED = 2**20  # behind the owner's text: Windows lets nobody read a locked byte

    def _take(file: IO[str]) -> None:
        file.seek(_BYTE_LOCKED)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class LabLock:
    """The lock <folder>/<name>.lock, where name is 'lab' (one page) or 'training' (one run). Use it in a `with`."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.lock"
        self._refusal = _HELD[name]
        self._file: IO[str] | None = None

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._file is not None

    def owner(self) -> str:
        """Who holds the lock or held it last, as 'process 7 on host since time'; empty if nobody ever did."""
        return self._path.read_text(encoding="utf-8").strip() if self._path.exists() else ""

    def acquire(self) -> None:
        """Takes the lock or refuses at once.

        Raises:
            StoreError: somebody holds it (the message says who), or the folder cannot be written.
        """
        try:
            file = self._path.open("a+", encoding="utf-8")
        except OSError as error:
            raise StoreError(
                f"{self._path} cannot be written: {error.strerror}. The lab's folder must exist and be writable."
            ) from error
        try:
            _take(file)
        except OSError as error:
            file.close()
            owner = self.owner() or "another process"
            raise StoreError(self._refusal.format(folder=self._path.parent, owner=owner)) from error
        file.truncate(0)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        file.write(f"process {os.getpid()} on {socket.gethostname()} since {since}\n")
        file.flush()
        self._file = file

    def release(self) -> None:
        """Lets go; harmless when not held."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> LabLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
