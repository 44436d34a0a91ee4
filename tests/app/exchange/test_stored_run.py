"""rollout.stored_groups = run:7, the groups of a run of this lab, without an export in between."""

import re
from pathlib import Path

import pytest
from lab_folder import PATIENCE_SECONDS
from ranked_folders import HOSTILE

from app.exchange.importing import import_groups
from app.exchange.stored_run import with_groups_at_hand
from app.settings import UNFINISHED
from app.store.rows import RunState
from dgpo_core.config import from_dict, to_dict
from dgpo_core.data.stored_groups import load_groups
from dgpo_core.errors import ExchangeError


def naming(source):
    return from_dict({"rollout": {"stored_groups": source}})


def test_an_import_is_learned_from_by_its_number_and_compared_when_it_is_gone(lab, config_of, ranked):
    runner, reader = lab
    assert runner.import_groups(ranked, "mine").endswith("To learn from them, set rollout.stored_groups to run:1.")
    offline = runner.start(config_of(rollout={"stored_groups": "run:1"}))
    assert runner.wait(PATIENCE_SECONDS)
    run = reader.run(offline)
    assert (run.state, run.message, run.config["rollout"]["stored_groups"]) == (RunState.FINISHED, "", "run:1")
    learned = {(one.prompt, len(one.samples)) for step in (0, 1) for one in reader.groups(offline, step)}
    assert learned == {("a red circle", 4), (HOSTILE, 2), ("unjudged", 2)}
    runner.delete(1)
    request = runner.request_comparison(offline, None, 1, 0)
    assert runner.wait(PATIENCE_SECONDS)
    row = reader.comparison(request)
    assert (row.is_done, row.message) == (True, "")


def test_a_run_that_cannot_be_learned_from_is_said_before_anything_begins(lab, config_of, writer):
    runner, reader = lab
    empty = writer.create_run(to_dict(config_of()), 1)
    for source, words in (
        (f"run:{empty + 8}", f"There is no run {empty + 8}. Known: {empty}."),
        (f"run:{empty}", f"Run {empty} has drawn no groups yet. Train it first."),
    ):
        with pytest.raises(ExchangeError, match=re.escape(words)):
            runner.start(config_of(rollout={"stored_groups": source}))
    assert [run.id for run in reader.runs()] == [empty]


def test_a_folder_that_is_not_there_is_said(lab, config_of):
    runner, reader = lab
    run_id = runner.start(config_of(rollout={"stored_groups": "run:x"}))
    assert runner.wait(PATIENCE_SECONDS)
    run = reader.run(run_id)
    assert run.state == RunState.FAILED
    assert "There are no stored groups in run:x: groups.jsonl cannot be read." in run.message


def test_groups_stay_as_they_were_when_the_run_began(writer, reader, ranked, tmp_path):
    import_groups(writer, ranked, "mine")
    at_hand = with_groups_at_hand(naming("run:1"), reader, tmp_path / "run")
    writer.delete_run(1)
    assert with_groups_at_hand(naming("run:1"), reader, tmp_path / "run") == at_hand
    groups = load_groups(Path(at_hand.rollout.stored_groups))
    assert [(group.prompt, len(group.samples)) for group in groups] == [
        ("a red circle", 4),
        (HOSTILE, 2),
        ("unjudged", 2),
    ]


def test_what_a_lab_that_was_killed_left_half_written_is_written_anew(writer, reader, ranked, tmp_path):
    import_groups(writer, ranked, "mine")
    (tmp_path / "run" / f"stored_groups{UNFINISHED}" / "0").mkdir(parents=True)
    at_hand = with_groups_at_hand(naming("run:1"), reader, tmp_path / "run")
    assert len(load_groups(Path(at_hand.rollout.stored_groups))) == 3
    assert [one.name for one in (tmp_path / "run").iterdir()] == ["stored_groups"]


@pytest.mark.parametrize("source", ["", "groups", "run 1", "my run:1"])
def test_other_words_are_a_folder_and_stay_as_they_are(reader, tmp_path, source):
    assert with_groups_at_hand(naming(source), reader, tmp_path / "run") == naming(source)
    assert not (tmp_path / "run").exists()
