"""A measurement that is kept takes the place of the one before only once it is whole."""

import json

import pytest

from benchmarks import record
from benchmarks.record import keep, kept, write_whole


def test_a_kept_result_is_never_half_written(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    keep("trial", {"value": 1})
    with (tmp_path / "trial.json").open() as old:
        keep("trial", {"value": 2})
        assert json.load(old)["value"] == 1  # the old file is whole until the new one has its name
    assert kept("trial")["value"] == 2
    assert [file.name for file in tmp_path.iterdir()] == ["trial.json"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    file = tmp_path / "kept.json"
    write_whole(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(file, "new \ud800")
    assert file.read_text() == "old"
