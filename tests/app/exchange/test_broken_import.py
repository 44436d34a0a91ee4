"""An import that breaks while it is written: nothing of it remains, and the store goes on."""

import os
import signal
from contextlib import closing, suppress

import pytest
from sqlite_utils.utils import sqlite3
from watched import Disk, watched_by

from app.exchange.importing import import_groups
from app.store.importing import ImportedGroup
from app.store.writer import Writer
from dgpo_core.config import RunConfig, to_dict
from dgpo_core.errors import StoreError


def rows_of(path):
    """Every row of every table, of runs, groups, labels and pictures as of all others."""
    with closing(sqlite3.connect(path)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: db.execute(f"SELECT * FROM [{name}]").fetchall() for name in tables}


@pytest.fixture
def database(tmp_path):
    """A store that has been used, so that an import is not the first that it holds."""
    path = tmp_path / "lab.db"
    with Writer(path) as writer:
        writer.create_run(to_dict(RunConfig(name="before")), 1)
    return path


def test_where_the_disk_fails_at_any_statement_nothing_is_left_and_another_try_does_it(database, ranked):
    before, disk = rows_of(database), Disk()
    with Writer(database, opener=watched_by(disk)) as writer:
        for num_statements in range(200):
            disk.break_after(num_statements)
            with suppress(StoreError):
                run_id, _ = import_groups(writer, ranked, "mine")
                break
            disk.heal()
            assert rows_of(database) == before
    after = rows_of(database)
    assert num_statements > 20
    assert (run_id, len(after["runs"]), len(after["label_tasks"]), len(after["labels"])) == (2, 2, 3, 2)
    assert len(after["pictures"]) == 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.parametrize("statement", ["INSERT INTO pictures", "INSERT INTO labels", "COMMIT"])
def test_killed_half_way_nothing_is_left(database, ranked, statement):
    before = rows_of(database)
    child = os.fork()
    if child == 0:
        try:
            is_armed = []

            def kill(sql):
                if is_armed and sql.startswith(statement):
                    os.kill(os.getpid(), signal.SIGKILL)

            writer = Writer(database, opener=watched_by(kill))
            is_armed.append(True)
            import_groups(writer, ranked, "mine")
        finally:
            os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert rows_of(database) == before
    with Writer(database) as writer:
        assert import_groups(writer, ranked, "mine")[0] == 2


def test_a_picture_that_goes_while_it_is_written_is_said_and_the_store_goes_on(database, ranked, tmp_path):
    before = rows_of(database)
    config, files = to_dict(RunConfig(name="mine")), sorted((ranked / "a_red_circle").iterdir())
    groups = [
        ImportedGroup(prompt="there", files=tuple(files), labels=()),
        ImportedGroup(prompt="gone", files=(files[0], tmp_path / "gone.png"), labels=()),
    ]
    with Writer(database) as writer:
        with pytest.raises(StoreError, match="A picture of the import cannot be read any more: No such file"):
            writer.import_groups(config, groups, "")
        assert rows_of(database) == before
        assert writer.import_groups(config, groups[:1], "") == 2
