"""Rewards tried through the runner, on given pictures and on stored groups."""

from io import BytesIO

import numpy as np
import pytest
from lab_folder import PATIENCE_SECONDS, wait_for
from PIL import Image

from app.settings import Settings
from app.store.rows import TrialWish
from app.trials import bench_of
from dgpo_core.errors import ConfigError, RewardError, StoreError


def file_of(shade, kind="PNG"):
    buffer = BytesIO()
    Image.fromarray(np.full((16, 24, 3), shade, np.uint8)).save(buffer, format=kind)
    return buffer.getvalue()


def done(reader, trial_id):
    def is_over():
        trial = next(one for one in reader.trials() if one.id == trial_id)
        return trial.is_done or trial.message

    wait_for(is_over)
    return next(one for one in reader.trials() if one.id == trial_id), reader.trial_pictures(trial_id)


def test_own_pictures_are_judged_and_the_self_test_is_said(lab):
    runner, reader = lab
    files = (file_of(0), file_of(255, "JPEG"), file_of(100, "WEBP"))
    trial, pictures = done(reader, runner.try_reward(TrialWish(reward="brightness", prompt="a cat", files=files)))
    assert (trial.message, trial.passed, trial.prompt, trial.agreement) == ("", True, "a cat", None)
    assert trial.self_test.startswith("brightness puts 1 of 1 good pictures above")
    assert [one.reward for one in pictures] == pytest.approx([0, 1, 100 / 255], abs=0.02)
    assert pictures[0].terms == (("brightness", pictures[0].reward),)
    assert all(reader.picture(one.sha).startswith(b"\x89PNG") for one in pictures)


def test_a_group_of_a_run_is_judged_by_another_reward(lab, config_of):
    runner, reader = lab
    run_id = runner.start(config_of())
    assert runner.wait(PATIENCE_SECONDS)
    stored = reader.groups(run_id, 1)[1]
    wish = TrialWish(reward="brightness*0.5 + colourfulness", run_id=run_id, step=1, group_index=1)
    trial, pictures = done(reader, runner.try_reward(wish))
    assert (trial.message, trial.prompt) == ("", stored.prompt)
    by_member = sorted(stored.samples, key=lambda one: one.member)
    assert [one.sha for one in pictures] == [one.sha for one in by_member]
    assert [dict(one.terms)["brightness"] for one in pictures] == pytest.approx([one.reward for one in by_member])
    runner.delete(run_id)
    assert reader.trials() == []


def test_where_the_models_of_a_stored_group_are_can_be_said_anew(lab, config_of, tmp_path):
    runner, reader = lab
    run_id = runner.start(config_of(reward={"server": "http://127.0.0.1:1", "models_folder": "models"}))
    assert runner.wait(PATIENCE_SECONDS)
    wish = TrialWish(reward="remote", run_id=run_id, step=0, group_index=0, server="http://127.0.0.1:2")
    asked = bench_of(wish, reader, Settings(folder=tmp_path)).config.reward
    assert (asked.train, asked.server, asked.models_folder) == ("remote", "http://127.0.0.1:2", "models")


def test_metadata_reaches_the_reward(lab, tmp_path):
    runner, reader = lab
    (tmp_path / "mine.py").write_text(
        "def wanted(pictures, prompts, metadata):\n    return [m['mark'] for m in metadata]\n"
    )
    wish = TrialWish(reward=f"{tmp_path / 'mine.py'}:wanted", prompt="p", note='{"mark": 7}', files=(file_of(1),))
    trial, pictures = done(reader, runner.try_reward(wish))
    assert (trial.message, pictures[0].reward) == ("", 7)


@pytest.mark.parametrize(
    ("wish", "error", "message"),
    [
        ({"reward": "best"}, ConfigError, "names the reward 'best'"),
        ({"files": ()}, RewardError, "1 to 64 pictures can be tried at once, got 0"),
        ({"files": (b"<svg/>",)}, RewardError, "Picture 1 is no picture that can be read"),
        ({"files": (file_of(1)[:60],)}, RewardError, "Picture 1 is no picture that can be read"),
        ({"note": "{"}, RewardError, "The metadata is no JSON"),
        ({"note": "[1]"}, RewardError, "must be a JSON object"),
        ({"run_id": 9, "step": 0, "group_index": 0}, StoreError, "There is no group 0 of step 0"),
    ],
)
def test_what_cannot_be_tried_is_said_at_once_and_leaves_nothing(lab, wish, error, message):
    runner, reader = lab
    with pytest.raises(error, match=message):
        runner.try_reward(TrialWish(**{"reward": "brightness", "files": (file_of(1),)} | wish))
    assert reader.trials() == []


def test_a_reward_that_fails_says_so_in_its_trial(lab):
    runner, reader = lab
    trial, _ = done(reader, runner.try_reward(TrialWish(reward="nowhere.py:x", files=(file_of(1),))))
    assert trial.message.startswith("There is no file nowhere.py")
    trial, _ = done(reader, runner.try_reward(TrialWish(reward="shapes_strict", prompt="a cat", files=(file_of(1),))))
    assert "cannot read the prompt 'a cat'" in trial.message


def test_one_trial_at_a_time(lab, tmp_path):
    runner, reader = lab
    (tmp_path / "slow.py").write_text(
        "import time\ndef slow(pictures, prompts):\n    time.sleep(1.2)\n    return [1.0] * len(pictures)\n"
    )
    trial_id = runner.try_reward(TrialWish(reward=f"{tmp_path / 'slow.py'}:slow", files=(file_of(1),)))
    with pytest.raises(StoreError, match="A reward is being tried already"):
        runner.try_reward(TrialWish(reward="brightness", files=(file_of(1),)))
    assert done(reader, trial_id)[0].is_done
