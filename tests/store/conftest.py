import pytest
from recorded_runs import CONFIG

from app.store.reader import Reader
from app.store.writer import Writer


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lab.db"


@pytest.fixture
def writer(path):
    with Writer(path) as writer:
        yield writer


@pytest.fixture
def reader(writer, path):
    reader = Reader(path)
    yield reader
    reader.close()


@pytest.fixture
def run_id(writer):
    return writer.create_run(CONFIG, num_steps=10)
