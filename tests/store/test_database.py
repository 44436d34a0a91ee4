import os
import re
from contextlib import closing
from functools import partial

import pytest
from recorded_runs import CONFIG, seen_steps, step_done
from sqlite_utils import Database, Migrations
from sqlite_utils.utils import sqlite3

from app.store.database import (
    DamagedStoreError,
    journal_mode_for,
    open_for_reading,
    open_for_writing,
    set_aside,
    transaction,
)
from app.store.reader import Reader
from app.store.schema import MIGRATIONS
from app.store.writer import Writer
from dgpo_core.errors import StoreError


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ((3, 37, 2), "truncate"),
        ((3, 40, 1), "truncate"),
        ((3, 44, 5), "truncate"),
        ((3, 44, 6), "wal"),
        ((3, 44, 9), "wal"),
        ((3, 45, 7), "truncate"),
        ((3, 50, 6), "truncate"),
        ((3, 50, 7), "wal"),
        ((3, 51, 0), "truncate"),
        ((3, 51, 2), "truncate"),
        ((3, 51, 3), "wal"),
        ((3, 53, 4), "wal"),
        ((4, 0, 0), "wal"),
    ],
)
def test_wal_is_used_only_where_it_is_sound(version, mode):
    assert journal_mode_for(version) == mode


def pragma(db, name):
    return db.execute(f"PRAGMA {name}").fetchone()[0]


@pytest.mark.parametrize("mode", ["wal", "truncate"])
def test_the_writing_connection_is_durable_and_strict(path, mode):
    with open_for_writing(path, journal_mode=mode) as db:
        names = ("journal_mode", "synchronous", "busy_timeout", "foreign_keys", "trusted_schema", "mmap_size")
        assert [pragma(db, name) for name in names] == [mode, 2, 5000, 1, 0, 0]
        assert pragma(db, "auto_vacuum") == 2


@pytest.mark.parametrize("mode", ["wal", "truncate"])
def test_a_run_is_written_and_read_in_either_journal_mode(path, mode):
    opener = partial(open_for_writing, journal_mode=mode)
    with Writer(path, opener=opener) as writer, closing(Reader(path)) as reader:
        run_id = writer.create_run(CONFIG, 10)
        for step in range(3):
            writer.record(run_id, step_done(step))
            writer.flush()
            assert seen_steps(reader, run_id) == dict.fromkeys(range(step + 1), 6)


def test_a_database_changes_its_journal_mode_when_it_moves_to_an_older_sqlite(path):
    open_for_writing(path, journal_mode="wal").close()
    with open_for_writing(path, journal_mode="truncate") as db:
        assert pragma(db, "journal_mode") == "truncate"


def test_a_reading_connection_cannot_write(path):
    open_for_writing(path).close()
    with open_for_reading(path) as db, pytest.raises(sqlite3.OperationalError, match="readonly"):
        db.execute("INSERT INTO pictures (sha, png) VALUES ('a', x'00')")


def test_there_is_nothing_to_read_before_the_first_writing(path):
    with pytest.raises(StoreError, match=r"lab\.db cannot be opened\. Its folder must exist"):
        open_for_reading(path)
    assert not path.exists()


def filled(path):
    with Writer(path) as writer:
        run_id = writer.create_run(CONFIG, 10)
        for step in range(20):
            writer.record(run_id, step_done(step))


def test_an_empty_file_becomes_a_new_database(path):
    path.touch()
    with Writer(path), closing(Reader(path)) as reader:
        assert reader.runs() == []


@pytest.mark.parametrize(
    "text", [b"this is a letter to my mother " * 200, b"{}", b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(path, text):
    path.write_bytes(text)
    with pytest.raises(DamagedStoreError, match=r"lab\.db is damaged or is not a database \(.+\)\. Put a backup"):
        Writer(path)
    assert path.read_bytes() == text


@pytest.mark.parametrize("page", ["header", "schema", "middle"])
def test_a_damaged_database_is_refused_and_left_alone(path, page):
    filled(path)
    healthy = path.read_bytes()
    start = {"header": 0, "schema": 100, "middle": 4096 * (len(healthy) // 4096 // 2)}[page]
    damaged = healthy[:start] + b"\xa5" * 300 + healthy[start + 300 :]
    path.write_bytes(damaged)
    with pytest.raises(DamagedStoreError, match="set it aside and begin a new one"):
        Writer(path)
    assert path.read_bytes() == damaged


def test_a_cut_off_database_is_refused(path):
    filled(path)
    path.write_bytes(path.read_bytes()[: 4096 * 5])
    with pytest.raises(DamagedStoreError):
        Writer(path)


def test_noise_after_the_log_is_ignored(path):
    filled(path)
    path.with_name("lab.db-wal").write_bytes(os.urandom(9000))
    with Writer(path), closing(Reader(path)) as reader:
        assert seen_steps(reader, 1) == dict.fromkeys(range(20), 6)


def test_a_damaged_database_is_set_aside_whole_and_a_new_one_begun(path):
    for suffix in ("", "-wal", "-shm"):
        path.with_name(f"lab.db{suffix}").write_bytes(b"torn" + suffix.encode())
    aside = set_aside(path)
    assert re.fullmatch(r"lab\.db\.corrupt-\d{8}T\d{6}\.\d{6}Z", aside.name)
    found = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    assert found == {
        aside.name: b"torn",
        f"{aside.name}-wal": b"torn-wal",
        f"{aside.name}-shm": b"torn-shm",
    }
    with Writer(path) as writer:
        assert writer.create_run(CONFIG, 10) == 1


def test_a_reader_follows_to_the_new_database(path):
    filled(path)
    with closing(Reader(path)) as reader:
        old_token = reader.change_token()
        assert len(reader.runs()) == 1
        set_aside(path)
        with Writer(path):
            assert reader.runs() == []
            assert reader.change_token() != old_token


def test_a_database_of_another_program_is_refused(path):
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("CREATE TABLE songs (title TEXT)")
    with pytest.raises(StoreError, match=r"is a database of another program\. Choose another folder"):
        Writer(path)


def later_migrations():
    later = Migrations("dgpo_lab")
    for known in MIGRATIONS.pending(Database(memory=True)):
        later(name=known.name)(known.fn)

    @later()
    def m998_moods(db):
        db.execute("ALTER TABLE runs ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm'")

    return later


def test_a_database_of_a_newer_lab_is_refused(path):
    open_for_writing(path, migrations=later_migrations()).close()
    with pytest.raises(StoreError, match=r"written by a newer version of the lab \(m998_moods\)\. Upgrade"):
        Writer(path)


def test_an_older_database_is_migrated_and_a_copy_kept(path):
    filled(path)
    with open_for_writing(path, migrations=later_migrations()) as db:
        assert db.execute("SELECT name, mood FROM runs").fetchall() == [(CONFIG["name"], "calm")]
        assert db["steps"].count == 20
    (copy,) = path.parent.glob("lab.backup-*.db")
    with open_for_writing(copy) as db:
        assert "mood" not in db["runs"].columns_dict
        assert db["steps"].count == 20


def test_a_migration_that_fails_changes_nothing(path):
    filled(path)
    later = later_migrations()

    @later()
    def m999_wrong(db):
        db.execute("ALTER TABLE runs ADD COLUMN name TEXT")

    with pytest.raises(StoreError, match="duplicate column name"):
        open_for_writing(path, migrations=later)
    with Writer(path), open_for_reading(path) as db:
        assert "mood" not in db["runs"].columns_dict


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a limit on the size of files")
def test_a_backup_that_does_not_fit_leaves_no_torn_copy(path):
    import resource

    filled(path)
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size // 2, resource.RLIM_INFINITY))
        try:
            open_for_writing(path, migrations=later_migrations())
        except StoreError:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert list(path.parent.glob("lab.backup-*")) == []
    with Writer(path), closing(Reader(path)) as reader:
        assert seen_steps(reader, 1) == dict.fromkeys(range(20), 6)


def test_no_backup_is_made_of_a_database_that_is_up_to_date(path):
    filled(path)
    filled(path)
    assert list(path.parent.glob("lab.backup-*")) == []


@pytest.mark.parametrize("kind", ["no folder", "a folder of that name"])
def test_a_path_that_cannot_be_opened_is_refused(tmp_path, kind):
    path = tmp_path / "missing" / "lab.db" if kind == "no folder" else tmp_path
    with pytest.raises(StoreError, match=r"cannot be opened\. Its folder must exist and be readable and writable"):
        Writer(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_folder_is_refused(path):
    filled(path)
    path.chmod(0o444)
    path.parent.chmod(0o555)
    with pytest.raises(StoreError, match=r"may not be written|cannot be opened"):
        Writer(path)


def test_a_transaction_takes_its_turn_at_once(path):
    with open_for_writing(path) as first, open_for_writing(path) as second:
        second.execute("PRAGMA busy_timeout = 0")
        with transaction(first), pytest.raises(sqlite3.OperationalError, match="locked"), transaction(second):
            pytest.fail("two writers at once")


def test_a_path_with_signs_of_an_address_is_only_a_path(tmp_path):
    path = tmp_path / "50% of? #1 ü" / "lab.db"
    path.parent.mkdir()
    with Writer(path), closing(Reader(path)) as reader:
        assert reader.runs() == []
    assert path.exists()
