from contextlib import closing

import pytest
from ranked_folders import write_ranked

from app.store.reader import Reader
from app.store.writer import Writer


@pytest.fixture
def writer(tmp_path):
    with Writer(tmp_path / "lab.db") as writer:
        yield writer


@pytest.fixture
def reader(writer, tmp_path):
    with closing(Reader(tmp_path / "lab.db")) as reader:
        yield reader


@pytest.fixture
def ranked(tmp_path):
    """A person's own folders: one with an order and a tie, one with a prompt of its own, one without places."""
    return write_ranked(tmp_path / "mine")
