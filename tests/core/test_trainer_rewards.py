import math
import time

import numpy as np
import pytest
import torch
from small_run import EVERY_STEP, Forwards, numbers_at, run, small_config, small_parts

from dgpo_core.assembly import assemble
from dgpo_core.checkpoint import find_damage, newest_checkpoint
from dgpo_core.errors import RewardError, StoreError, UnstorableError
from dgpo_core.events import EndReason, EvaluationDone, Phase, PhaseChanged, StepDone, Stop, Warned
from dgpo_core.rewards.contract import Judgement


class Judge:
    """Brightness, then whatever change does to the judgements and to what was handed in."""

    def __init__(self, change):
        self._change = change

    def check_prompts(self, prompts):
        pass

    def __call__(self, pictures, prompts):
        judgements = [
            Judgement(brightness, (("brightness", brightness),)) for brightness in map(brightness_of, pictures)
        ]
        return self._change(judgements, pictures, prompts)


def brightness_of(picture):
    return float((picture @ np.array([0.299, 0.587, 0.114])).mean() / 255)


def reseeding(judgements, pictures, prompts):
    torch.manual_seed(0)
    np.random.seed(0)
    torch.rand(10)
    return judgements


def spoiling(judgements, pictures, prompts):
    for picture in pictures:
        picture[:] = 0
    prompts.clear()
    return judgements


@pytest.mark.parametrize("change", [reseeding, spoiling], ids=lambda change: change.__name__)
def test_a_reward_that_meddles_changes_nothing(model, tmp_path, straight, change):
    config = small_config(schedule=EVERY_STEP | {"evaluate_every": 1})
    parts = small_parts(model, tmp_path, config, reward=Judge(change), judge=Judge(change))
    _, heard = run(config, parts)
    assert numbers_at(tmp_path / "step-000003", model, config) == straight[3]
    assert [len(event.samples) for event in heard.of(EvaluationDone)] == [2, 2, 2, 2]


def test_a_mixture_takes_two_groups_of_one_prompt_for_two(model, tmp_path):
    for name, prompt in (("train", "a ring"), ("heldout", "a square")):
        (tmp_path / f"{name}.txt").write_text(prompt)
    prompts = {name: str(tmp_path / f"{name}.txt") for name in ("train", "heldout")}
    config = small_config(reward={"train": "brightness*2"}, prompts=prompts, rollout={"group_size": 2})
    reward = assemble(config, tmp_path, model=model).reward
    pictures = [np.full((8, 8, 3), shade, np.uint8) for shade in (0, 10, 200, 250)]
    assert [one.reward for one in reward(pictures, ["a ring"] * 4)] == pytest.approx([-2, 2, -2, 2])


def with_rewards(*values):
    """Rewards in turn; the Ellipsis keeps the brightness."""

    def change(judgements, pictures, prompts):
        return [
            one if values[index % len(values)] is ... else Judgement(values[index % len(values)])
            for index, one in enumerate(judgements)
        ]

    return change


@pytest.mark.parametrize("bad", [None, math.nan, math.inf, -math.inf, 1e300, np.float32("nan"), torch.tensor(math.nan)])
def test_a_reward_without_an_opinion_leaves_the_sample_out(model, tmp_path, bad):
    config = small_config(schedule={"num_steps": 2})
    reason, heard = run(config, small_parts(model, tmp_path, config, reward=Judge(with_rewards(bad, ..., ..., ...))))
    assert reason is EndReason.FINISHED
    for group in heard.of(StepDone)[-1].groups:
        rewards = [sample.reward for sample in group.samples]
        assert rewards[0] is None
        assert group.samples[0].advantage == 0
        assert group.reward_mean == pytest.approx(np.mean(rewards[1:]), abs=1e-6)
        assert group.has_preference
    assert find_damage(newest_checkpoint(tmp_path)) == ""


@pytest.mark.parametrize("value", [0.5, None, math.nan, 0, True])
def test_a_step_without_any_preference_learns_nothing_and_says_so(model, tmp_path, value):
    config = small_config(schedule={"num_steps": 1, "checkpoint_every": 1})
    parts = small_parts(model, tmp_path, config, reward=Judge(with_rewards(value)))
    with Forwards(model) as forwards:
        _, heard = run(config, parts)
        # Two denoising steps each: base examined, groups, averaged examined. Nothing for the update.
        assert forwards.count == 6
    done = heard.of(StepDone)[0]
    assert [(group.has_preference, group.gate) for group in done.groups] == [(False, 0.5)] * 2
    assert done.metrics.preference_fraction == 0
    unmeasured = (done.metrics.gate, done.metrics.clipped_fraction, done.metrics.grad_norm, done.metrics.kl)
    assert all(math.isnan(number) for number in unmeasured)
    assert math.isnan(done.metrics.reward_mean) == (value is None or math.isnan(value))
    assert not any(one.any() for name, one in model.policy_parameters().items() if "lora_B" in name)


@pytest.mark.parametrize("value", [1, np.float32(0.5), np.int64(2), True, torch.tensor(0.25)])
def test_numbers_of_other_kinds_are_rewards_too(model, tmp_path, value):
    config = small_config(schedule={"num_steps": 1})
    _, heard = run(config, small_parts(model, tmp_path, config, reward=Judge(with_rewards(value, ...))))
    rewards = [sample.reward for group in heard.of(StepDone)[0].groups for sample in group.samples]
    assert [type(reward) for reward in rewards] == [float] * 8
    assert rewards[0] == float(value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda judgements, *_: judgements[:-1], "gave 7 judgements for 8 pictures. It must give one per picture"),
        (lambda judgements, *_: [], "gave 0 judgements for 8 pictures"),
        (with_rewards("good"), "gave 'good' for a picture. It must give one number, or None"),
        (with_rewards([1.0, 2.0]), r"gave '\[1.0, 2.0\]' for a picture"),
        (with_rewards(torch.zeros(2)), "gave .* for a picture"),
    ],
)
def test_a_reward_that_breaks_its_contract_ends_the_run_in_one_sentence(model, tmp_path, change, message):
    config = small_config()
    with pytest.raises(RewardError, match=message):
        run(config, small_parts(model, tmp_path, config, reward=Judge(change)))


def hanging(judgements, pictures, prompts):
    time.sleep(20)
    return judgements


def test_a_reward_that_hangs_ends_the_run_when_its_time_is_up(model, tmp_path):
    config = small_config(reward={"train": "brightness", "evaluation": "brightness", "seconds": 0.3})
    with pytest.raises(RewardError, match=r"The reward Judge gave no answer for 8 pictures in 0\.3 s"):
        run(config, small_parts(model, tmp_path, config, reward=Judge(hanging)))


def test_a_stop_is_heard_while_a_reward_hangs(model, tmp_path):
    config, began = small_config(), []

    def emit(event):
        if isinstance(event, PhaseChanged) and event.phase is Phase.SCORING:
            began.append(time.monotonic())

    def next_command():
        return Stop() if began and time.monotonic() > began[0] + 0.3 else None

    parts = small_parts(model, tmp_path, config, reward=Judge(hanging))
    reason, _ = run(config, parts, emit=emit, next_command=next_command)
    assert reason is EndReason.STOPPED
    assert time.monotonic() - began[0] < 5


def test_pictures_without_an_opinion_are_counted_and_said(model, tmp_path):
    config = small_config()
    _, heard = run(config, small_parts(model, tmp_path, config, reward=Judge(with_rewards(math.nan, ..., ..., ...))))
    assert [event.message for event in heard.of(Warned)] == [
        "The reward had no opinion on 2 of 8 pictures of this step, 2 so far; they are left out. "
        "The first: the reward was not finite."
    ]


def test_a_reward_without_any_opinion_ends_the_run_at_the_third_step(model, tmp_path):
    config = small_config(schedule={"num_steps": 5})
    with pytest.raises(RewardError, match="had no opinion on any picture in 3 steps in a row: the reward was not fin"):
        run(config, small_parts(model, tmp_path, config, reward=Judge(with_rewards(math.inf))))


def test_a_reward_that_raises_ends_the_run_in_one_sentence_and_leaves_the_weights_usable(model, tmp_path, straight):
    config = small_config(schedule=EVERY_STEP)
    calls = []

    def raising(judgements, pictures, prompts):
        calls.append(1)
        if len(calls) == 2:
            raise KeyError("reward of the second step")
        return judgements

    with pytest.raises(
        RewardError, match="The reward Judge failed with KeyError: 'reward of the second step'"
    ) as caught:
        run(config, small_parts(model, tmp_path, config, reward=Judge(raising)))
    assert isinstance(caught.value.__cause__, KeyError)
    assert newest_checkpoint(tmp_path).name == "step-000001"
    run(config, small_parts(model, tmp_path, config), resume_from=tmp_path / "step-000001")
    assert numbers_at(tmp_path / "step-000003", model, config) == straight[3]


@pytest.mark.parametrize("failing", ["the reward of the third step", "the examination after the second step"])
def test_what_was_learned_before_a_reward_failed_is_saved_and_gone_on_from(model, tmp_path, straight, failing):
    config = small_config(schedule={"num_steps": 3, "checkpoint_every": 100, "evaluate_every": 2})
    calls = []

    def raising(judgements, pictures, prompts):
        calls.append(1)
        if len(calls) == (3 if "reward" in failing else 2):
            raise OSError("the server is down")
        return judgements

    judges = {"reward": Judge(raising)} if "reward" in failing else {"judge": Judge(raising)}
    with pytest.raises(RewardError, match="the server is down"):
        run(config, small_parts(model, tmp_path, config, **judges))
    assert [one.name for one in tmp_path.iterdir()] == ["step-000002"]
    run(config, small_parts(model, tmp_path, config), resume_from=tmp_path / "step-000002")
    assert numbers_at(tmp_path / "step-000003", model, config) == straight[3]


@pytest.mark.parametrize(("error", "saved"), [(UnstorableError, ["step-000002"]), (StoreError, [])])
def test_steps_are_saved_where_that_can_be_told(model, tmp_path, error, saved):
    config = small_config(schedule={"num_steps": 3, "checkpoint_every": 100, "evaluate_every": 2})

    def emit(event):
        if isinstance(event, EvaluationDone) and event.step == 2:
            raise error("no")

    with pytest.raises(error):
        run(config, small_parts(model, tmp_path, config), emit=emit)
    assert [one.name for one in tmp_path.iterdir()] == saved


def test_a_run_that_fails_before_it_learned_anything_saves_nothing(model, tmp_path):
    config = small_config()
    with pytest.raises(RewardError, match="gave 0 judgements"):
        run(config, small_parts(model, tmp_path, config, judge=Judge(lambda *_: [])))
    assert list(tmp_path.iterdir()) == []
