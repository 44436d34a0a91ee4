import math
import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from small_model import PROMPTS
from small_run import Listener, numbers_at, run, small_config, small_parts

from dgpo_core.checkpoint import find_damage, newest_checkpoint
from dgpo_core.data.pictures import png_bytes
from dgpo_core.errors import CheckpointError, RewardError
from dgpo_core.events import (
    CheckpointDropped,
    CheckpointSaved,
    Compare,
    ComparisonDone,
    ComparisonFailed,
    EndReason,
    EvaluationDone,
    Pause,
    Phase,
    PhaseChanged,
    Preview,
    Resume,
    RunEnded,
    RunStarted,
    SampleNow,
    SaveNow,
    StepDone,
    Stop,
    Warned,
)
from dgpo_core.rewards.contract import Judgement
from dgpo_core.rewards.shapes_verifier import ShapesVerifier
from dgpo_core.rollout import starting_noise

EVERY_STEP = {"num_steps": 3, "checkpoint_every": 1, "checkpoints_kept": 100}


@pytest.fixture(scope="module")
def straight(loaded_model, tmp_path_factory):
    """Hashes of the state after 0 to 3 undisturbed steps."""
    config, folder = small_config(schedule=EVERY_STEP), tmp_path_factory.mktemp("straight")
    # A stop before anything saves the state at step 0.
    run(config, small_parts(loaded_model, folder, config), listener=Listener({0: [Stop()]}))
    run(config, small_parts(loaded_model, folder, config))
    return [numbers_at(folder / f"step-{step:06d}", loaded_model, config) for step in range(4)]


def test_the_states_of_a_run_all_differ(straight):
    assert len(set(straight)) == 4


def without_phases(events):
    return [event for event in events if not isinstance(event, PhaseChanged)]


def test_events_come_in_a_legal_order(model, tmp_path):
    config = small_config(schedule={"num_steps": 4, "evaluate_every": 2, "checkpoint_every": 1, "checkpoints_kept": 2})
    reason, heard = run(config, small_parts(model, tmp_path, config))
    assert reason is EndReason.FINISHED
    expected = [
        *[(RunStarted, None), (EvaluationDone, 0)],
        *[(StepDone, 0), (CheckpointSaved, 1)],
        *[(StepDone, 1), (EvaluationDone, 2), (CheckpointSaved, 2)],
        *[(StepDone, 2), (CheckpointSaved, 3), (CheckpointDropped, 1)],
        *[(StepDone, 3), (EvaluationDone, 4), (CheckpointSaved, 4), (CheckpointDropped, 2), (RunEnded, 4)],
    ]
    found = [(type(event), getattr(event, "step", None)) for event in without_phases(heard.events)]
    assert found == expected
    num_trainable = sum(one.numel() for one in model.policy_parameters().values())
    assert heard.events[0] == RunStarted(first_step=0, num_steps=4, num_trainable=num_trainable)
    assert heard.events[-1] == RunEnded(step=4, reason=EndReason.FINISHED)
    assert [event.policy for event in heard.of(EvaluationDone)] == ["averaged", "averaged", "averaged"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000003", "step-000004"]


def test_phases_tell_what_is_done_and_never_run_backwards_inside_a_step(model, tmp_path):
    config = small_config(schedule={"num_steps": 2})
    _, heard = run(config, small_parts(model, tmp_path, config))
    order = [Phase.SAMPLING, Phase.SCORING, Phase.UPDATING]
    for step in range(2):
        phases = [event for event in heard.of(PhaseChanged) if event.step == step and event.phase in order]
        assert [(event.phase, event.done, event.total) for event in phases] == [
            *[(Phase.SAMPLING, 0, 2), (Phase.SAMPLING, 1, 2)],
            (Phase.SCORING, 0, 1),
            *[(Phase.UPDATING, 0, 2), (Phase.UPDATING, 1, 2)],
        ]


def test_a_step_tells_everything_about_its_groups(model, tmp_path):
    config = small_config(schedule={"num_steps": 2})
    _, heard = run(config, small_parts(model, tmp_path, config))
    for done in heard.of(StepDone):
        assert [group.index for group in done.groups] == [0, 1]
        assert all(group.prompt in PROMPTS[:4] for group in done.groups)
        for group in done.groups:
            rewards = [sample.reward for sample in group.samples]
            assert [sample.member for sample in group.samples] == [0, 1, 2, 3]
            assert group.has_preference
            assert group.reward_mean == pytest.approx(np.mean(rewards), abs=1e-6)
            assert group.reward_std == pytest.approx(np.std(rewards), abs=1e-6)
            advantages = [sample.advantage for sample in group.samples]
            assert advantages == pytest.approx((np.array(rewards) - np.mean(rewards)) / np.std(rewards), abs=1e-2)
            assert 0 < group.gate < 1
            assert all(sample.terms == (("brightness", sample.reward),) for sample in group.samples)
        metrics, every = done.metrics, [sample.reward for group in done.groups for sample in group.samples]
        assert metrics.reward_mean == pytest.approx(np.mean(every), abs=1e-6)
        assert metrics.reward_std == pytest.approx(np.mean([group.reward_std for group in done.groups]), abs=1e-6)
        assert metrics.preference_fraction == 1.0
        assert metrics.gate == pytest.approx(np.mean([group.gate for group in done.groups]), abs=1e-6)
        assert metrics.kl > 0
        assert metrics.grad_norm > 0
        assert 0 < metrics.velocity_error < 10
        parts = ("sampling", "decoding", "scoring", "updating", "other")
        seconds = [getattr(metrics, f"{part}_seconds") for part in parts]
        assert min(seconds) >= 0
        assert sum(seconds) == pytest.approx(metrics.step_seconds)


def test_the_seed_of_a_sample_remakes_its_picture(model, tmp_path):
    config = small_config(schedule={"num_steps": 1})
    _, heard = run(config, small_parts(model, tmp_path, config), listener=Listener({}))
    group = heard.of(StepDone)[0].groups[1]
    # B of the LoRA is zero in the first step, so the first groups are drawn by the base.
    noise = starting_noise([sample.seed for sample in group.samples], model.latent_shape, model.device)
    with torch.no_grad(), model.reference():
        x = noise
        for sigma, lower in pairwise((1.0, 0.5, 0.0)):
            x = x + (lower - sigma) * model.velocity(x, torch.tensor(sigma), model.encode([group.prompt] * 4))
    assert [png_bytes(picture) for picture in model.decode(x)] == [sample.png for sample in group.samples]


def test_every_step_draws_other_noise_and_the_same_again_in_another_run(model, tmp_path):
    config = small_config(schedule={"num_steps": 3})
    seeds = []
    for name in ("one", "two"):
        _, heard = run(config, small_parts(model, tmp_path / name, config))
        samples = [sample for done in heard.of(StepDone) for group in done.groups for sample in group.samples]
        seeds.append([sample.seed for sample in samples])
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 3 * 2 * 4


class Forwards:
    """Counts the forwards of a model while in a with."""

    def __init__(self, model):
        self._transformer, self.count = model.pipeline.transformer, 0

    def __enter__(self):
        self._hook = self._transformer.register_forward_hook(lambda *_: setattr(self, "count", self.count + 1))
        return self

    def __exit__(self, *_):
        self._hook.remove()


def questions_of(model, tmp_path, config):
    _, heard = run(config, small_parts(model, tmp_path / "count", config))
    return heard.num_questions


def test_a_stop_is_obeyed_at_the_next_safe_point_and_leaves_the_last_whole_step(model, tmp_path, straight):
    config = small_config(schedule=EVERY_STEP | {"num_steps": 2})
    seen = set()
    for number in range(questions_of(model, tmp_path, config)):
        parts = small_parts(model, tmp_path / str(number), config)
        listener = Listener()
        with Forwards(model) as forwards:
            at_stop = []

            def next_command(number=number, listener=listener, forwards=forwards, at_stop=at_stop):
                command = Stop() if listener.num_questions == number else None
                listener.num_questions += 1
                if command:
                    at_stop.append(forwards.count)
                return command

            reason, heard = run(config, parts, listener=listener, next_command=next_command)
            assert forwards.count == at_stop[0]
        assert reason is EndReason.STOPPED
        step = heard.events[-1].step
        assert heard.events[-1] == RunEnded(step=step, reason=EndReason.STOPPED)
        assert len(heard.of(StepDone)) == step
        assert heard.of(CheckpointSaved)[-1].step == step
        phase = [event for event in heard.of(PhaseChanged) if event.phase is not Phase.SAVING]
        seen.add(phase[-1].phase if phase else None)
        # How long a run is to be does not enter its state: these are the first steps of the longer one.
        folder = newest_checkpoint(tmp_path / str(number))
        assert numbers_at(folder, model, config) == straight[step]
    assert {Phase.SAMPLING, Phase.UPDATING, Phase.EXAMINING, None} <= seen


def test_an_examination_cut_short_by_a_stop_is_made_up_for_on_resume(model, tmp_path):
    config = small_config(schedule={"num_steps": 2})
    parts = small_parts(model, tmp_path, config)

    def stopping(event, listener):
        if event == PhaseChanged(step=2, phase=Phase.EXAMINING, done=0, total=2):
            listener.commands[listener.num_questions] = [Stop()]

    listener = Listener()
    reason, heard = run(config, parts, listener=listener, emit=lambda event: stopping(event, listener))
    assert (reason, [event.step for event in heard.of(EvaluationDone)]) == (EndReason.STOPPED, [0])
    reason, heard = run(config, parts, resume_from=tmp_path / "step-000002")
    assert (reason, [event.step for event in heard.of(EvaluationDone)]) == (EndReason.FINISHED, [2])
    assert heard.of(StepDone) == []


def test_pause_keeps_the_model_and_does_what_is_asked_until_resumed(model, tmp_path, straight):
    config = small_config(schedule=EVERY_STEP)
    asked = [SampleNow(("a ring", "a cross"), 5), Compare(8, None, 1, 6), SaveNow()]
    # Question 8 falls into the second step; the step is finished first.
    listener = Listener({8: [Pause()], 40: [asked[0]], 50: asked[1:], 60: [Resume()]})
    reason, heard = run_without_waiting(config, small_parts(model, tmp_path, config), listener)
    assert reason is EndReason.FINISHED
    paused = [index for index, event in enumerate(heard.events) if getattr(event, "phase", None) is Phase.PAUSED]
    step_of_pause = heard.events[paused[0]].step
    assert 0 < step_of_pause < 3
    during = without_phases(heard.events[paused[0] : paused[-1] + 1])
    assert [type(event) for event in during] == [Preview, ComparisonDone, CheckpointSaved]
    assert {event.step for event in during} == {step_of_pause}
    assert [one.prompt for one in during[0].samples] == ["a ring", "a cross"]
    assert numbers_at(tmp_path / "step-000003", model, config) == straight[3]
    assert [event.step for event in heard.of(StepDone)] == [0, 1, 2]


def run_without_waiting(config, parts, listener):
    """run(), where a pause asks for the next command at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dgpo_core.control.SECONDS_BETWEEN_LOOKS", 0.0)
        return run(config, parts, listener=listener)


def test_pausing_at_every_question_changes_nothing(model, tmp_path, straight):
    config = small_config(schedule=EVERY_STEP | {"num_steps": 2})
    commands = {number: [Pause(), Resume(), Pause(), Pause(), Resume()] for number in range(100)}
    _, heard = run(config, small_parts(model, tmp_path, config), listener=Listener(commands))
    assert numbers_at(tmp_path / "step-000002", model, config) == straight[2]
    assert [event.step for event in heard.of(StepDone)] == [0, 1]


def test_a_stop_ends_a_pause(model, tmp_path, straight):
    config = small_config(schedule=EVERY_STEP)
    listener = Listener({8: [Pause()], 60: [Stop()]})
    reason, heard = run_without_waiting(config, small_parts(model, tmp_path, config), listener)
    assert reason is EndReason.STOPPED
    step = heard.events[-1].step
    assert numbers_at(tmp_path / f"step-{step:06d}", model, config) == straight[step]


@pytest.mark.parametrize("number", [0, 3, 8, 12])
def test_errands_and_examinations_do_not_disturb_training(model, tmp_path, straight, number):
    config = small_config(schedule=EVERY_STEP | {"evaluate_every": 1})
    errands = [SampleNow(("a ring",), 1), Compare(3, 1, 2, 7), Compare(4, None, 2, 7), SaveNow()]
    _, heard = run(config, small_parts(model, tmp_path, config), listener=Listener({number: errands}))
    assert numbers_at(tmp_path / "step-000003", model, config) == straight[3]
    assert [event.step for event in heard.of(EvaluationDone)] == [0, 1, 2, 3]
    assert len(heard.of(Preview)) == 1
    assert len(heard.of(ComparisonDone)) + len(heard.of(ComparisonFailed)) == 2


def test_a_preview_is_drawn_with_the_averaged_weights_and_its_seed_remakes_it(model, tmp_path):
    config = small_config()
    asked = SampleNow(("a ring", "a cross"), 5)
    _, heard = run(config, small_parts(model, tmp_path, config), listener=Listener({14: [asked, asked]}))
    one, other = heard.of(Preview)
    assert one == other
    assert one.step > 0
    assert [(sample.prompt, sample.category) for sample in one.samples] == [("a ring", "single"), ("a cross", "single")]
    assert all(sample.score is not None and 0 < sample.score < 1 for sample in one.samples)
    assert one.samples[0].png != one.samples[1].png


def test_a_comparison_shows_the_base_and_a_checkpoint_from_the_same_noise(model, tmp_path):
    config = small_config(schedule=EVERY_STEP)
    asked = [Compare(1, None, 2, 9), Compare(2, 1, 2, 9), Compare(3, 0, 2, 9), Compare(4, 77, 2, 9)]
    _, heard = run(config, small_parts(model, tmp_path, config), listener=Listener({14: asked}))
    now, saved = heard.of(ComparisonDone)
    assert (now.request_id, saved.request_id, saved.step) == (1, 2, 1)
    assert now.before == saved.before
    assert [one.seed for one in now.before] == [one.seed for one in now.after]
    assert [one.prompt for one in now.before] == PROMPTS[4:] == [one.prompt for one in saved.after]
    assert now.step > 1
    assert len({one.png for one in (now.before[0], now.after[0], saved.after[0])}) == 3
    assert [event.request_id for event in heard.of(ComparisonFailed)] == [3, 4]
    assert "There is no checkpoint of step 77 any more" in heard.of(ComparisonFailed)[1].message


def test_a_comparison_asked_for_in_the_last_step_is_still_drawn(model, tmp_path):
    config = small_config(schedule={"num_steps": 1})
    last = questions_of(model, tmp_path, config) - 2
    _, heard = run(config, small_parts(model, tmp_path, config), listener=Listener({last: [Compare(1, None, 1, 0)]}))
    assert [event.request_id for event in heard.of(ComparisonDone)] == [1]


@pytest.mark.parametrize(
    ("errand", "message"),
    [
        (SampleNow(("a ring", "a horse"), 0), "cannot read the prompt 'a horse'"),
        (SampleNow((), 0), "There is nothing to draw"),
        (Compare(1, None, 0, 0), "There is nothing to draw"),
        (Compare(1, None, -3, 0), "There is nothing to draw"),
        (Compare(1, -1, 1, 0), "There is no checkpoint of step -1"),
    ],
)
def test_an_errand_that_cannot_be_done_is_said_and_the_run_goes_on(model, tmp_path, straight, errand, message):
    config = small_config(schedule=EVERY_STEP)
    parts = small_parts(model, tmp_path, config, judge=ShapesVerifier(is_strict=True))
    reason, heard = run(config, parts, listener=Listener({8: [errand]}))
    said = heard.of(Warned) if isinstance(errand, SampleNow) else heard.of(ComparisonFailed)
    assert [message in event.message for event in said] == [True]
    assert reason is EndReason.FINISHED
    assert numbers_at(tmp_path / "step-000003", model, config) == straight[3]


def test_a_save_that_fails_along_the_way_is_a_warning_and_at_the_end_an_error(model, tmp_path):
    config = small_config(schedule=EVERY_STEP)
    (tmp_path / "checkpoints").write_text("in the way")
    listener = Listener({8: [SaveNow()]})
    parts = small_parts(model, tmp_path / "checkpoints", config)
    with pytest.raises(CheckpointError, match="checkpoint of step 3 could not be written"):
        run(config, parts, listener=listener)
    assert [event.step for event in listener.of(Warned)] == [1, 1, 2]
    assert all("could not be written" in event.message for event in listener.of(Warned))
    assert len(listener.of(StepDone)) == 3


def test_the_global_generators_are_neither_read_nor_moved(model, tmp_path, straight):
    config = small_config(schedule=EVERY_STEP | {"evaluate_every": 1})
    torch.manual_seed(4321)
    np.random.seed(4321)
    random.seed(4321)
    before = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())
    run(config, small_parts(model, tmp_path, config), listener=Listener({9: [SampleNow(("a ring",), 3)]}))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]
    assert numbers_at(tmp_path / "step-000003", model, config) == straight[3]


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
    assert (done.metrics.gate, done.metrics.grad_norm, done.metrics.kl) == (0.5, 0.0, 0.0)
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


def test_a_reward_that_raises_passes_through_and_leaves_the_weights_usable(model, tmp_path, straight):
    config = small_config(schedule=EVERY_STEP)
    calls = []

    def raising(judgements, pictures, prompts):
        calls.append(1)
        if len(calls) == 2:
            raise KeyError("reward of the second step")
        return judgements

    with pytest.raises(KeyError, match="reward of the second step"):
        run(config, small_parts(model, tmp_path, config, reward=Judge(raising)))
    assert newest_checkpoint(tmp_path).name == "step-000001"
    run(config, small_parts(model, tmp_path, config), resume_from=tmp_path / "step-000001")
    assert numbers_at(tmp_path / "step-000003", model, config) == straight[3]


@pytest.mark.parametrize("per_sigma", [True, False])
def test_an_update_that_is_not_finite_is_left_out_and_said(model, tmp_path, per_sigma):
    config = small_config(schedule={"num_steps": 2, "checkpoint_every": 1}, update={"per_sigma": per_sigma})
    training = [0]

    def poison(module, inputs, output):
        if not torch.is_grad_enabled():
            return output
        training[0] += 1
        return (output[0] * math.nan,) if training[0] == 1 else output

    hook = model.pipeline.transformer.register_forward_hook(poison)
    try:
        reason, heard = run(config, small_parts(model, tmp_path, config))
    finally:
        hook.remove()
    assert reason is EndReason.FINISHED
    assert [(event.step, event.message) for event in heard.of(Warned)] == [
        (0, "An update was left out because its gradient was not finite. Weights are as before it.")
    ]
    for done in heard.of(StepDone):
        assert all(math.isfinite(getattr(done.metrics, name)) for name in done.metrics.__slots__)
        assert all(0 <= group.gate <= 1 for group in done.groups)
    assert all(one.isfinite().all() for one in model.policy_parameters().values())


def test_weights_are_untouched_when_no_update_is_finite(model, tmp_path):
    config = small_config(schedule={"num_steps": 1})
    hook = model.pipeline.transformer.register_forward_hook(
        lambda module, inputs, output: (output[0] * math.nan,) if torch.is_grad_enabled() else output
    )
    before = []

    def remember(event):
        if isinstance(event, RunStarted):
            before.append({name: one.detach().clone() for name, one in model.policy_parameters().items()})

    try:
        _, heard = run(config, small_parts(model, tmp_path, config), emit=remember)
    finally:
        hook.remove()
    assert len(heard.of(Warned)) == 2
    assert all(torch.equal(one, before[0][name]) for name, one in model.policy_parameters().items())


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": {"reference": "frozen", "reference_guidance": 2.0, "kl_weight": 0.1}},
        {"loss": {"sigma_source": "grid", "num_sigmas": 1, "clip_range": 0.0}},
        {"loss": {"advantage_std": "batch"}, "update": {"micro_batch": 3}},
        {"update": {"old_policy_decay": 0.5, "per_sigma": False}},
        {"rollout": {"sampler": "heun", "guidance_scale": 2.0, "old_policy_from_step": 1}},
        {"rollout": {"sampler": "dpmpp_2m", "group_size": 5}, "update": {"old_policy_decay": 0.9}},
    ],
)
def test_every_way_to_train_runs_and_moves_the_policy(model, tmp_path, changes):
    config = small_config(**{name: dict(value) for name, value in changes.items()}, schedule={"num_steps": 2})
    reason, heard = run(config, small_parts(model, tmp_path, config))
    assert reason is EndReason.FINISHED
    assert all(done.metrics.grad_norm > 0 for done in heard.of(StepDone))
    assert heard.of(StepDone)[-1].metrics.kl > 0
    assert heard.of(Warned) == []


def test_the_reward_goes_up(model, tmp_path):
    config = small_config(
        rollout={"groups_per_step": 4, "group_size": 8}, schedule={"num_steps": 12, "evaluation_prompts": 2}
    )
    _, heard = run(config, small_parts(model, tmp_path, config))
    rewards = [done.metrics.reward_mean for done in heard.of(StepDone)]
    assert np.mean(rewards[-3:]) > np.mean(rewards[:3]) + 2 * np.std(rewards[:3])
