"""A run's groups as a folder, and training on it."""

import pytest
from lab_folder import PATIENCE_SECONDS

from app.__main__ import main
from app.exchange.export import export_groups
from app.store.rows import RunState
from dgpo_core.data.stored_groups import load_groups
from dgpo_core.errors import ExchangeError


def test_what_a_run_drew_can_be_learned_from(lab, finished, config_of, tmp_path):
    runner, reader = lab
    assert export_groups(reader, finished, tmp_path / "groups") == 4
    groups = load_groups(tmp_path / "groups")
    drawn = [group for step in (0, 1) for group in reader.groups(finished, step)]
    assert [group.prompt for group in groups] == [group.prompt for group in drawn]
    for group, row in zip(groups, drawn, strict=True):
        by_member = sorted(row.samples, key=lambda sample: sample.member)
        assert [sample.reward for sample in group.samples] == [sample.reward for sample in by_member]
        assert [sample.file.read_bytes() for sample in group.samples] == [reader.picture(one.sha) for one in by_member]
    offline = runner.start(config_of(rollout={"stored_groups": str(tmp_path / "groups"), "groups_per_step": 2}))
    assert runner.wait(PATIENCE_SECONDS)
    run = reader.run(offline)
    assert (run.state, run.message) == (RunState.FINISHED, "")
    shas = {sample.sha for group in drawn for sample in group.samples}
    assert {sample.sha for group in reader.groups(offline, 0) for sample in group.samples} <= shas


def test_own_ranked_folders_of_any_size_can_be_learned_from(lab, config_of, ranked, tmp_path):
    """Folders of four and of two ranked pictures, and two that nobody has judged: in, out again, and learned from."""
    runner, reader = lab
    assert main(["import", str(ranked), "--folder", str(tmp_path)]) == 0
    (imported,) = reader.runs()
    assert main(["export", str(imported.id), str(tmp_path / "groups"), "--folder", str(tmp_path)]) == 0
    offline = runner.start(config_of(rollout={"stored_groups": str(tmp_path / "groups")}))
    assert runner.wait(PATIENCE_SECONDS)
    run = reader.run(offline)
    assert (run.state, run.message) == (RunState.FINISHED, "")
    learned = [group for step in (0, 1) for group in reader.groups(offline, step)]
    assert sorted((len(group.samples), group.has_preference) for group in learned) == [
        (2, False),
        (2, True),
        (4, True),
    ]


def test_held_out_prompts_must_not_be_among_stored_groups(lab, finished, config_of, tmp_path):
    runner, reader = lab
    export_groups(reader, finished, tmp_path / "groups")
    shared = tmp_path / "shared.txt"
    shared.write_text("a cat\na dog\ntwo birds")
    settings = {"prompts": {"heldout": str(shared)}, "rollout": {"stored_groups": str(tmp_path / "groups")}}
    run_id = runner.start(config_of(**settings))
    assert runner.wait(PATIENCE_SECONDS)
    run = reader.run(run_id)
    assert run.state == RunState.FAILED
    assert "held-out prompts are also trained on" in run.message


@pytest.mark.parametrize(("run_id", "words"), [(9, r"There is no run 9\. Known: 1\."), (1, "is there already")])
def test_what_cannot_be_exported_is_said(lab, finished, tmp_path, run_id, words):
    _, reader = lab
    (tmp_path / "taken").mkdir()
    with pytest.raises(ExchangeError, match=words):
        export_groups(reader, run_id, tmp_path / "taken")


def test_a_folder_of_somebody_else_is_left_alone(lab, finished, tmp_path):
    _, reader = lab
    (tmp_path / "mine.unfinished").mkdir()
    (tmp_path / "mine.unfinished" / "dear").write_text("x")
    with pytest.raises(ExchangeError, match=r"mine\.unfinished is there already, of an export under way"):
        export_groups(reader, finished, tmp_path / "mine")
    assert (tmp_path / "mine.unfinished" / "dear").read_text() == "x"


def test_the_command_says_what_to_do_next(lab, finished, tmp_path, capsys):
    assert main(["export", str(finished), str(tmp_path / "groups"), "--folder", str(tmp_path)]) == 0
    assert "4 groups are in" in capsys.readouterr().out
    assert main(["export", "9", str(tmp_path / "more"), "--folder", str(tmp_path)]) == 2
    assert "There is no run 9." in capsys.readouterr().err
