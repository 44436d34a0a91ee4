"""A measurement of steering that was kept is taken up as long as it is the same one."""

import json
from copy import deepcopy

import pytest

from app.__main__ import configured, opened_store
from app.settings import Settings
from benchmarks.people_steer import is_same, taught, trained
from dgpo_core.config import to_dict
from dgpo_core.preference.saved import ABOUT


@pytest.fixture
def about():
    return {"mode": "people", "config": to_dict(configured("shapes", [])), "prompts": 600, "noise": 0.1}


def test_settings_that_came_since_a_measurement_are_at_their_defaults(about):
    older = deepcopy(about)
    del older["config"]["reward"]["self_test"]
    assert older != about
    assert is_same(older, about)


@pytest.mark.parametrize("change", [{"mode": "model"}, {"prompts": 120}, {"noise": 0.0}])
def test_another_measurement_is_another(about, change):
    assert not is_same(about | change, about)


def test_another_setting_is_another(about):
    other = deepcopy(about)
    other["config"]["loss"]["kl_weight"] = 0.5
    assert not is_same(other, about)


def test_labels_are_those_that_were_learned_from_not_those_asked_for(tmp_path):
    into = tmp_path / "preference"
    into.mkdir()
    (into / ABOUT).write_text(json.dumps({"num_groups": 97}))
    assert taught(configured("shapes", []), tmp_path, 100) == (into, 97)


def test_a_run_with_other_settings_in_the_folder_is_not_taken_up(tmp_path):
    kept_config = configured("shapes", ["seed=3"])
    with opened_store(Settings(folder=tmp_path)) as (_, writer):
        writer.create_run(to_dict(kept_config), kept_config.schedule.num_steps)
    with pytest.raises(SystemExit, match="holds a run with other settings"):
        trained(configured("shapes", ["seed=3", "loss.kl_weight=0.5"]), tmp_path)
    with opened_store(Settings(folder=tmp_path)) as (reader, _):
        assert [run.config for run in reader.runs()] == [to_dict(kept_config)]
