"""Opening the lab's database: safely, or not at all, with one sentence that says why.

Only this module connects. It takes the driver that sqlite-utils took (pysqlite3 where it is installed),
because two copies of SQLite on one file in one process break each other's locks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlite_utils import Database, Migrations
from sqlite_utils.utils import sqlite3

from app.store.schema import APPLICATION_ID, MIGRATIONS
from dgpo_core.errors import StoreError

FileIdentity = tuple[int, int] | None
Opener = Callable[[Path], Database]

BUSY_SECONDS = 5.0
JOURNAL_BYTES_KEPT = 64 * 2**20
PICTURES_CHECKED_BELOW_BYTES = 512 * 2**20


class DamagedStoreError(StoreError):
    """The file is not a sound database; set_aside moves it out of the way, once the person knows."""


def now() -> str:
    """The time in UTC as ISO text, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def journal_mode_for(version: tuple[int, ...]) -> str:
    """'wal' for a SQLite that carries the fix of the WAL-reset bug, else 'truncate'.

    With the bug, two connections that write at the same instant can lose commits. Fixed in 3.51.3,
    3.50.7 and 3.44.6 (sqlite.org/wal.html#walresetbug). With 'truncate' readers and the writer wait
    for each other a little.
    """
    is_fixed = version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    return "wal" if is_fixed else "truncate"


def open_for_writing(
    path: Path,
    *,
    journal_mode: str = journal_mode_for(sqlite3.sqlite_version_info),
    migrations: Migrations = MIGRATIONS,
) -> Database:
    """A checked connection to the newest schema; a missing file is created, an older one migrated after a backup.

    The connection may be used by any one thread at a time.

    Raises:
        DamagedStoreError: not a database, or a damaged one.
        StoreError: made by a newer lab or another program, locked, read-only, or the disk is full.
    """
    with translated(path):
        db = _connect(path, "rwc")
    try:
        with translated(path):
            _check(db, path)
            _check_schema(db, path, migrations)
            _set_pragmas(db, journal_mode)
            _migrate(db, path, migrations)
    except BaseException:
        db.close()
        raise
    return db


def open_for_reading(path: Path) -> Database:
    """A connection that cannot write; the file must exist.

    Raises:
        StoreError: there is no file, or it cannot be opened.
    """
    with translated(path):
        return _connect(path, "ro")


@contextmanager
def transaction(db: Database) -> Iterator[None]:
    """All or nothing. Takes the write lock at once, so that nothing read inside can change before it is written."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        db.rollback()
        raise


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors become StoreErrors that name the file and what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise store_error(path, error) from error


def store_error(path: Path, error: Exception) -> StoreError:
    """What went wrong, in a sentence or two for the person at the page."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, UnicodeError):
        return StoreError("A text holds half a character (a lone surrogate), which cannot be stored. Remove it.")
    if isinstance(error, OverflowError):
        return StoreError("A whole number is too large to be stored; 63 bits are allowed. Give a smaller one.")
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return _damaged(path, str(error))
    sentences = {
        "SQLITE_FULL": f"The disk is full: {path} could not be written. Free some space and try again.",
        "SQLITE_BUSY": f"{path} was held by another program for more than {BUSY_SECONDS:g} seconds. "
        "Close that program or wait, then try again.",
        "SQLITE_LOCKED": f"{path} is being changed elsewhere. Try again.",
        "SQLITE_READONLY": f"{path} may not be written. Make the file and its folder writable and try again.",
        "SQLITE_PERM": f"{path} may not be opened. Make the file and its folder readable and writable.",
        "SQLITE_CANTOPEN": f"{path} cannot be opened. Its folder must exist and be readable and writable.",
        "SQLITE_IOERR": f"The disk failed while {path} was read or written ({error}). Check the disk and try again.",
        "SQLITE_CONSTRAINT": f"{path} has no such run, or refuses the values ({error}). Reload the list of runs.",
    }
    found = next((text for start, text in sentences.items() if name.startswith(start)), None)
    return StoreError(found or f"{path} could not be read or written: {error}. Try again.")


def file_identity(path: Path) -> FileIdentity:
    """Tells whether a path still names the same file, without opening it; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def set_aside(path: Path) -> Path:
    """Moves a damaged database out of the way, nothing deleted; returns where it lies now.

    Call it only when the person has been told, and while nothing has the database open.
    """
    aside = path.with_name(f"{path.name}.corrupt-{_stamp()}")
    # The log goes first: a log left beside a new database would be played into it.
    for suffix in ("-wal", "-journal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


def _connect(path: Path, mode: str) -> Database:
    conn = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    db = Database(conn, recursive_triggers=False, execute_plugins=False)
    for pragma in ("foreign_keys = ON", "trusted_schema = OFF", "mmap_size = 0"):
        db.execute(f"PRAGMA {pragma}")
    return db


def _set_pragmas(db: Database, journal_mode: str) -> None:
    if not db.table_names():
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # too late once the journal mode is written
    got = db.execute(f"PRAGMA journal_mode = {journal_mode}").fetchone()[0]
    if got != journal_mode:  # some file systems cannot share the memory that WAL needs
        db.execute("PRAGMA journal_mode = TRUNCATE")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES_KEPT}")


def _check(db: Database, path: Path) -> None:
    """Raises unless every page that can be checked in reasonable time is sound."""
    tables = db.table_names()
    if path.stat().st_size > PICTURES_CHECKED_BELOW_BYTES:
        tables = [table for table in tables if table != "pictures"]
    for table in tables:
        found = db.execute(f"PRAGMA quick_check([{table}])").fetchall()
        if found != [("ok",)]:
            raise _damaged(path, found[0][0].strip().replace("\n", " "))


def _check_schema(db: Database, path: Path, migrations: Migrations) -> None:
    if not db.table_names():
        return
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise StoreError(f"{path} is a database of another program. Choose another folder for the lab.")
    known = {migration.name for migration in migrations.pending(Database(memory=True))}
    unknown = [applied.name for applied in migrations.applied(db) if applied.name not in known]
    if unknown:
        raise StoreError(
            f"{path} was written by a newer version of the lab ({unknown[-1]}). "
            "Upgrade the lab or choose another folder."
        )


def _migrate(db: Database, path: Path, migrations: Migrations) -> None:
    if not migrations.pending(db):
        return
    if db.table_names():
        _back_up(db, path.with_name(f"{path.stem}.backup-{_stamp()}{path.suffix}"))
    with transaction(db):
        migrations.apply(db)


def _back_up(db: Database, copy: Path) -> None:
    try:
        db.execute("VACUUM INTO ?", [str(copy)])
    except sqlite3.Error:
        copy.unlink(missing_ok=True)
        raise


def _damaged(path: Path, finding: str) -> DamagedStoreError:
    return DamagedStoreError(
        f"{path} is damaged or is not a database ({finding}). "
        "Put a backup in its place, or let the lab set it aside and begin a new one."
    )


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def insert(db: Database, table: str, row: dict[str, Any], *, key: Iterable[str] = ()) -> int:
    """The id of the row, which is new, or overwritten where one with the same key was there."""
    conflict = ""
    if key := tuple(key):
        changes = ", ".join(f"{name} = excluded.{name}" for name in row)
        conflict = f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}"
    names, places = ", ".join(row), ", ".join(f":{name}" for name in row)
    cursor = db.execute(f"INSERT INTO {table} ({names}) VALUES ({places}) {conflict} RETURNING id", row)
    return int(cursor.fetchall()[0][0])
