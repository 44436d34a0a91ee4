from threading import Event
from time import monotonic, sleep

import pytest
from small_model import PROMPTS
from small_run import EVERY_STEP, Forwards, Listener, numbers_at, run, small_config, small_parts, without_phases

from dgpo_core.checkpoint import newest_checkpoint
from dgpo_core.errors import CheckpointError
from dgpo_core.events import (
    CheckpointSaved,
    Compare,
    ComparisonDone,
    ComparisonFailed,
    Drawing,
    EndReason,
    EvaluationDone,
    ExamineNow,
    Pause,
    Phase,
    PhaseChanged,
    Preview,
    Resume,
    RunEnded,
    SampleNow,
    SaveNow,
    StepDone,
    Stop,
    Warned,
)
from dgpo_core.rewards.contract import Judgement
from dgpo_core.rewards.shapes_verifier import ShapesVerifier


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
        assert all(one.grad is None for one in model.policy_parameters().values())
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


def test_a_saved_step_that_was_examined_is_not_examined_again_on_resume(model, tmp_path):
    config = small_config(schedule=EVERY_STEP | {"num_steps": 2})
    parts = small_parts(model, tmp_path, config)
    run(config, parts)
    _, heard = run(config, parts, resume_from=tmp_path / "step-000001")
    assert [event.step for event in heard.of(EvaluationDone)] == [2]


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


@pytest.mark.parametrize("schedule", [{"evaluate_every": 1}, {"evaluate_every": 0}])
def test_a_stop_is_heard_while_a_picture_of_an_examination_or_a_preview_is_judged(model, tmp_path, schedule):
    config = small_config(schedule=schedule)
    asked = [SampleNow(prompts=tuple(PROMPTS[:1]), seed=1)]
    judging = Event()

    class Slow:
        name = "slow"

        def check_prompts(self, prompts):
            pass

        def __call__(self, pictures, prompts):
            judging.set()
            sleep(20)
            return [Judgement(1.0)] * len(pictures)

    def command():
        return Stop() if judging.is_set() else (asked.pop() if asked else None)

    started = monotonic()
    reason, _ = run(config, small_parts(model, tmp_path, config, judge=Slow()), next_command=command)
    assert reason is EndReason.STOPPED
    assert monotonic() - started < 15


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


def test_a_comparison_is_drawn_with_the_guidance_and_steps_asked_for_and_the_run_keeps_its_own(model, tmp_path):
    config = small_config(schedule=EVERY_STEP)
    drawings = [Drawing(), Drawing(guidance_scale=7.0), Drawing(num_sampling_steps=3), Drawing()]
    asked = [Compare(number, None, 1, 9, drawing) for number, drawing in enumerate(drawings)]
    _, heard = run(config, small_parts(model, tmp_path, config), listener=Listener({14: asked}))
    own, guided, stepped, own_again = heard.of(ComparisonDone)
    assert own.after == own_again.after
    for side in ("before", "after"):
        drawn = {getattr(one, side)[0].png for one in (own, guided, stepped)}
        assert len(drawn) == 3


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


@pytest.mark.parametrize(("command", "reason", "step"), [(Stop(), "stopped", 1), (SaveNow(), "finished", 3)])
def test_the_last_save_alone_is_given_the_patience_that_was_handed_in(model, tmp_path, command, reason, step):
    config = small_config(schedule={"num_steps": 3})
    checkpoints, refusals = tmp_path / "checkpoints", []
    checkpoints.write_text("in the way")

    def patiently(write):
        with pytest.raises(CheckpointError) as refused:
            write()
        refusals.append(str(refused.value))
        checkpoints.unlink()
        write()

    # Question 8 falls into the second step.
    listener = Listener({8: [command]})
    ended, heard = run(config, small_parts(model, checkpoints, config), listener=listener, patiently=patiently)
    assert ended == reason
    assert [message.partition(" could")[0] for message in refusals] == [f"The checkpoint of step {step}"]
    assert [event.step for event in heard.of(CheckpointSaved)] == [step]
    assert newest_checkpoint(checkpoints) == checkpoints / f"step-{step:06d}"


def test_an_examination_can_be_asked_for_between_steps(model, tmp_path):
    config = small_config(schedule={"num_steps": 3})
    # The fourth question is asked inside the first step, so the examination is of the weights after it.
    _, heard = run(config, small_parts(model, tmp_path, config), listener=Listener({3: [ExamineNow()]}))
    assert [event.step for event in heard.of(EvaluationDone)] == [0, 1, 3]
