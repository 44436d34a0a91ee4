"""A race begun by the lab in a process of its own, on the small model."""

import pytest
import yaml
from lab_folder import opened, wait_for, write_recipe

from app.child import Child
from app.settings import Settings
from app.store.lock import LabLock
from app.store.rows import RunState
from dgpo_core.errors import ConfigError, StoreError


@pytest.fixture
def plan(tmp_path, model_folder):
    """A race that goes on until it is stopped."""
    values = {
        **{"minutes": 100, "turn_minutes": 100, "examined_prompts": 2, "against": "dgpo", "seeds": [0]},
        "recipe": str(write_recipe(tmp_path, model_folder)),
        "entrants": {"dgpo": {}},
    }
    path = tmp_path / "sprint.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_a_child_that_takes_too_long_to_end_is_left_alone(tmp_path, monkeypatch):
    child = Child(Settings(folder=tmp_path), "memory", "shapes")
    monkeypatch.setattr("app.child.SECONDS_TO_STOP", 0.0)
    child.close()
    wait_for(lambda: not child.is_running)
    assert not child.has_failed
    child.close()


def test_a_race_runs_beside_the_lab_until_it_is_stopped_and_its_run_is_saved(plan, tmp_path):
    (tmp_path / "lab").mkdir()
    with opened(tmp_path / "lab") as (runner, reader):
        runner.start_race(str(plan))
        assert runner.race_words().startswith(f"The race {plan} is on.")
        with pytest.raises(StoreError, match="one at a time"):
            runner.start_race(str(plan))
        wait_for(lambda: reader.races() and reader.latest_step(1) is not None)
        runner.stop_race()
        wait_for(lambda: "has ended" in runner.race_words())
        assert reader.run(1).state is RunState.STOPPED
        assert reader.races()[0].ended is None
        with pytest.raises(StoreError, match="No race that was started on this page is on"):
            runner.stop_race()


def test_the_page_is_told_what_a_race_waits_for_until_it_goes_on(plan, tmp_path):
    (tmp_path / "lab").mkdir()
    with opened(tmp_path / "lab") as (runner, reader):
        runner.start_race(str(plan))
        wait_for(lambda: reader.races() and reader.latest_step(1) is not None)
        assert runner.trouble() == ""
        obstacle = runner.checkpoints(1)
        obstacle.parent.mkdir(parents=True, exist_ok=True)
        obstacle.write_text("in the way")
        runner.stop_race()
        wait_for(lambda: "The run waits to be saved and ended." in runner.trouble())
        assert f" could not be written to {obstacle}" in runner.trouble()
        obstacle.unlink()
        wait_for(lambda: "has ended" in runner.race_words())
        assert runner.trouble() == ""
        assert reader.run(1).state is RunState.STOPPED


def test_why_a_race_could_not_go_on_is_said_in_its_own_words(plan, tmp_path):
    folder = tmp_path / "lab"
    folder.mkdir()
    with opened(folder) as (runner, _), LabLock(folder, "training"):
        runner.start_race(str(plan))
        wait_for(lambda: "ended" in runner.race_words())
        assert f"The race {plan} ended early: A run is already training in {folder} (process " in runner.race_words()


def test_what_cannot_be_raced_is_refused_at_once(tmp_path):
    (tmp_path / "lab").mkdir()
    with opened(tmp_path / "lab") as (runner, _):
        with pytest.raises(ConfigError, match="There is no race 'marathon'"):
            runner.start_race("marathon")
        assert runner.race_words() == ""


def test_a_live_run_is_not_raced_against(plan, tmp_path, model_folder):
    from lab_folder import is_training, lab_config

    config = lab_config(tmp_path, model_folder, schedule={"num_steps": 100_000, "checkpoint_every": 100_000})
    (tmp_path / "lab").mkdir()
    with opened(tmp_path / "lab") as (runner, reader):
        run_id = runner.start(config)
        wait_for(is_training(reader, run_id))
        with pytest.raises(StoreError, match=r"Run 1 \(.*\) is live, and would be timed with the race"):
            runner.start_race(str(plan))
