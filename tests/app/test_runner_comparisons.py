import pytest
from lab_folder import HELDOUT, PATIENCE_SECONDS, is_training, wait_for

from app.store.lock import LabLock
from app.store.rows import RunState
from dgpo_core.errors import StoreError
from dgpo_core.events import Pause, StepDone


def test_a_finished_run_is_compared_with_its_base(lab, finished):
    runner, reader = lab
    newest = runner.request_comparison(finished, None, 2, 7)
    assert runner.wait(PATIENCE_SECONDS)
    first = runner.request_comparison(finished, 1, 2, 7)
    assert runner.wait(PATIENCE_SECONDS)
    for request_id, step in ((newest, 2), (first, 1)):
        row = reader.comparison(request_id)
        assert (row.is_done, row.message, row.step, row.num_prompts, row.seed) == (True, "", step, 2, 7)
        pictures = reader.examined("comparison", request_id)
        assert [(one.side, one.prompt) for one in pictures] == [
            *[("before", HELDOUT[0]), ("before", HELDOUT[1])],
            *[("after", HELDOUT[0]), ("after", HELDOUT[1])],
        ]
        assert pictures[0].seed == pictures[2].seed
    shas = [[one.sha for one in reader.examined("comparison", request_id)] for request_id in (newest, first)]
    assert shas[0][:2] == shas[1][:2]
    assert reader.run(finished).state is RunState.FINISHED


def test_the_same_comparison_is_drawn_by_a_live_run(lab, finished, config_of):
    runner, reader = lab
    afterwards = runner.request_comparison(finished, 1, 2, 7)
    assert runner.wait(PATIENCE_SECONDS)
    run_id = runner.start(config_of(schedule={"num_steps": 100_000}))
    wait_for(lambda: any(row.step == 1 for row in reader.checkpoints(run_id)))
    runner.send(run_id, Pause())
    request_id = runner.request_comparison(run_id, None, 2, 7)
    assert not reader.comparison(request_id).is_done
    wait_for(lambda: reader.comparison(request_id).is_done)
    before = [
        [one.sha for one in reader.examined("comparison", number) if one.side == "before"]
        for number in (afterwards, request_id)
    ]
    assert before[0] == before[1]
    assert reader.run(run_id).state.is_live


@pytest.mark.parametrize(
    ("step", "count", "message"),
    [
        (77, 2, "There is no checkpoint of step 77 any more: only the newest are kept. Choose a newer one."),
        (None, 0, "There is nothing to draw: no prompt was given. Give at least one."),
    ],
)
def test_a_comparison_that_cannot_be_drawn_says_why(lab, finished, step, count, message):
    runner, reader = lab
    request_id = runner.request_comparison(finished, step, count, 7)
    assert runner.wait(PATIENCE_SECONDS)
    row = reader.comparison(request_id)
    assert (row.is_done, row.message) == (False, message)


def test_a_comparison_of_a_run_without_checkpoints_says_so(lab, config_of):
    runner, reader = lab
    run_id = runner.start(config_of(model={"folder": "nowhere"}))
    assert runner.wait(PATIENCE_SECONDS)
    request_id = runner.request_comparison(run_id, None, 2, 7)
    assert runner.wait(PATIENCE_SECONDS)
    assert f"Run {run_id} has no checkpoint to compare" in reader.comparison(request_id).message


def test_any_failure_of_a_comparison_is_told_and_the_lab_goes_on(lab, finished, config_of):
    runner, reader = lab
    (runner.checkpoints(finished).parents[2] / "heldout.txt").unlink()
    request_id = runner.request_comparison(finished, None, 2, 7)
    assert runner.wait(PATIENCE_SECONDS)
    assert "There is no prompt set or file" in reader.comparison(request_id).message
    assert runner.start(config_of()) == finished + 1


def test_a_comparison_that_the_run_did_not_come_to_is_not_awaited_for_ever(lab, config_of):
    runner, reader = lab
    asked = []

    def ask_too_late(event):
        if isinstance(event, StepDone) and event.step == 1:
            asked.append(runner.request_comparison(run_ids[0], None, 1, 0))
            raise KeyError("boom")

    run_ids = [runner.start(config_of(), on_event=lambda event: ask_too_late(event))]
    assert runner.wait(PATIENCE_SECONDS)
    row = reader.comparison(asked[0])
    assert (row.is_done, row.message) == (
        False,
        "The run ended before this comparison was drawn. Ask for it again.",
    )


def test_a_comparison_that_cannot_be_stored_leaves_the_live_run_its_lock(lab, endless, tmp_path):
    runner, reader = lab
    run_id = runner.start(endless)
    wait_for(is_training(reader, run_id))
    with pytest.raises(StoreError, match="too large"):
        runner.request_comparison(run_id, None, 2**70, 0)
    with pytest.raises(StoreError, match="already training"):
        LabLock(tmp_path, "training").acquire()
    assert reader.run(run_id).state is RunState.RUNNING


def test_a_refused_question_leaves_the_lab_free(lab, finished, config_of):
    runner, reader = lab
    with pytest.raises(StoreError):
        runner.request_comparison(finished, None, 2**70, 0)
    run_id = runner.start(config_of())
    assert runner.wait(PATIENCE_SECONDS)
    assert reader.run(run_id).state is RunState.FINISHED
