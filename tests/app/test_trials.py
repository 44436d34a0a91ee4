"""Rewards tried through the runner, on given pictures and on stored groups."""

from io import BytesIO

import numpy as np
import pytest
from lab_folder import PATIENCE_SECONDS, wait_for
from PIL import Image

from app.settings import Settings
from app.store.rows import Said, TrialWish
from app.trials import bench_of
from app.ui.tabs.rewards import _opened
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


LUMA = (0.299, 0.587, 0.114)
BRIGHTEST_FIRST, DARKEST_FIRST = ((3,), (2,), (1,), (0,)), ((0,), (1,), (2,), (3,))
BEST_TWO_SWAPPED, ALL_ALIKE = ((2,), (3,), (1,), (0,)), ((0, 1, 2, 3),)
"""Rankings of four pictures, best first, by their place when sorted from dark to bright."""


def say(runner, reader, task_id, order):
    """Ranks a group's pictures through the runner, as the Label page does."""
    shades = [
        float((np.asarray(Image.open(BytesIO(reader.picture(sha))).convert("RGB")) @ LUMA).mean())
        for sha in reader.label_task(task_id).shas
    ]
    by_brightness = sorted(range(len(shades)), key=shades.__getitem__)
    said = {"kind": "ranking", "body": {"tiers": [[by_brightness[place] for place in tier] for tier in order]}}
    runner.put_label(Said(task_id=task_id, rater="ann", seconds=1.0, request=f"request {task_id}", **said))


def told(lab, run_id, group_index):
    """Kendall's tau that a trial of brightness on a group of step 0 stores, and what the Rewards tab says of it."""
    runner, reader = lab
    wish = TrialWish(reward="brightness", run_id=run_id, step=0, group_index=group_index)
    trial, _ = done(reader, runner.try_reward(wish))
    assert trial.message == ""
    _, heading, *_ = _opened(reader, trial.id)
    return trial.agreement, heading.splitlines()[-1].partition("”: ")[2]


@pytest.fixture
def labelled(lab, config_of):
    """A run of one step of five groups, and which of them ann ranked how while it waited for her; one nobody ranked."""
    runner, reader = lab
    people, rollout = {"weight": 1.0, "groups_asked": 4}, {"groups_per_step": 5, "group_size": 4}
    run_id = runner.start(config_of(people=people, rollout=rollout, schedule={"num_steps": 1}))
    tasks = {}
    for order in (BRIGHTEST_FIRST, DARKEST_FIRST, BEST_TWO_SWAPPED, ALL_ALIKE):
        wait_for(lambda: reader.label_progress("ann").num_open > 0)
        task = reader.label_task(runner.lease_next("ann"))
        say(runner, reader, task.id, order)
        tasks[order] = task
    assert runner.wait(PATIENCE_SECONDS)
    return run_id, tasks


def test_agreement_of_a_reward_with_what_people_said_of_a_stored_group(lab, labelled):
    run_id, tasks = labelled
    words = "agreement with people's labels (Kendall's tau, -1 to 1)"
    assert told(lab, run_id, tasks[BRIGHTEST_FIRST].group_index) == (1.0, f"{words} 1.00.")
    assert told(lab, run_id, tasks[DARKEST_FIRST].group_index) == (-1.0, f"{words} -1.00.")
    tau = pytest.approx(4 / 6)  # five of six pairs in one order, one in the other
    assert told(lab, run_id, tasks[BEST_TWO_SWAPPED].group_index) == (tau, f"{words} 0.67.")
    tau, said = told(lab, run_id, tasks[ALL_ALIKE].group_index)
    assert (tau, said.partition(":")[0]) == (None, "its labels and this reward cannot be compared")
    (left,) = {*range(5)} - {task.group_index for task in tasks.values()}
    assert told(lab, run_id, left) == (None, "nobody labelled it, so agreement with people is not known.")


def test_the_prompt_file_of_a_run_is_read_only_for_a_reward_that_asks_what_stands_in_it(lab, config_of, tmp_path):
    runner, reader = lab
    file = tmp_path / "train.jsonl"
    file.write_text('{"prompt": "a sign", "mark": 7}\n')
    (tmp_path / "mine.py").write_text(
        "def told(pictures, prompts, metadata):\n    return [m['mark'] for m in metadata]\n"
    )
    run_id = runner.start(config_of(prompts={"train": file.name}, schedule={"num_steps": 1}))
    assert runner.wait(PATIENCE_SECONDS)

    def tried_with(reward):
        wish = TrialWish(reward=reward, run_id=run_id, step=0, group_index=0)
        trial, pictures = done(reader, runner.try_reward(wish))
        return trial.message, {one.reward for one in pictures}

    assert tried_with("mine.py:told") == ("", {7})
    file.unlink()
    message, rewards = tried_with("mine.py:told")
    assert message.startswith(
        "What stands beside the run's prompts cannot be read: There is no prompt set or file 'train"
    )
    assert rewards == {None}
    message, rewards = tried_with("brightness")
    assert (message, None in rewards) == ("", False)


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
