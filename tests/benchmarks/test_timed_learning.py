"""A run is measured at the marks asked for, and in a work folder of its own settings."""

import json
import shutil
from dataclasses import replace

import pytest
from lab_folder import lab_config

from benchmarks.learning import CHECKPOINTS, CONFIG, TimedRun, claim
from dgpo_core.config import RunConfig, to_dict

AT_ONCE = 1e-6
"""A mark, in minutes, that the first step is past."""


@pytest.fixture(scope="module")
def config(tmp_path_factory, model_folder):
    schedule = {"num_steps": 100, "checkpoint_every": 1, "checkpoints_kept": 3}
    return lab_config(tmp_path_factory.mktemp("prompts"), model_folder, schedule=schedule)


def without_quality(measured):
    return {name: measured[name] for name in ("steps", "minutes", "scores")}


def test_a_mark_before_what_was_trained_is_measured_at_its_own_checkpoint_or_not_at_all(tmp_path, config):
    run = TimedRun(config, tmp_path)
    first = run.until(AT_ONCE)
    assert first["steps"] == 1
    later = first["minutes"] * 1.001
    second = run.until(later)
    assert second["steps"] == 2
    assert second["minutes"] > first["minutes"]

    again = TimedRun(config, tmp_path)
    assert without_quality(again.until(AT_ONCE)) == without_quality(first)
    assert without_quality(again.until(later)) == without_quality(second)

    shutil.rmtree(tmp_path / CHECKPOINTS / "step-000001")
    with pytest.raises(SystemExit, match="cannot be measured after 1e-06 minutes: it was trained for"):
        TimedRun(config, tmp_path).until(AT_ONCE)


def test_a_work_folder_stays_with_the_settings_that_began_it(tmp_path):
    mine = RunConfig()
    claim(tmp_path, mine)
    claim(tmp_path, mine)
    with pytest.raises(SystemExit, match=r"not those given now\. Remove the folder, or give .* another --label"):
        claim(tmp_path, replace(mine, seed=1))
    assert json.loads((tmp_path / CONFIG).read_text()) == to_dict(mine)


def test_a_trained_run_may_be_examined_in_other_sampling_steps(tmp_path):
    mine = RunConfig()
    claim(tmp_path, mine)
    claim(tmp_path, replace(mine, schedule=replace(mine.schedule, evaluation_sampling_steps=16)))
    assert json.loads((tmp_path / CONFIG).read_text()) == to_dict(mine)


def test_settings_that_came_since_a_work_folder_are_at_their_defaults(tmp_path):
    older = to_dict(RunConfig())
    del older["reward"]["self_test"]
    (tmp_path / CONFIG).write_text(json.dumps(older))
    claim(tmp_path, RunConfig())
    assert json.loads((tmp_path / CONFIG).read_text()) == older


def test_checkpoints_of_unknown_settings_are_not_taken_up(tmp_path):
    (tmp_path / CHECKPOINTS / "step-000003").mkdir(parents=True)
    with pytest.raises(SystemExit, match=r"has checkpoints but no config\.json"):
        TimedRun(RunConfig(), tmp_path)
    assert not (tmp_path / CONFIG).exists()
