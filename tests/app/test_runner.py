import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from lab_folder import PATIENCE_SECONDS, is_training, opened, wait_for, write_recipe

from app.endings import end_in_words
from app.store.rows import RunState
from app.store.writer import Writer
from dgpo_core.config import to_dict
from dgpo_core.errors import CheckpointError, ConfigError, StoreError
from dgpo_core.events import Pause, Resume, RunFailed, RunStarted, SampleNow, SaveNow, StepDone, Stop
from dgpo_core.recipe_check import cautions

PROJECT = Path(__file__).parents[2]


def test_a_run_goes_into_the_store_from_start_to_end(lab, config_of):
    runner, reader = lab
    heard = []
    run_id = runner.start(config_of(), on_event=heard.append)
    assert runner.wait(PATIENCE_SECONDS)
    run = reader.run(run_id)
    assert (run.state, run.step, run.num_steps, run.message) == (RunState.FINISHED, 1, 2, "")
    assert [row.step for row in reader.steps(run_id)] == [0, 1]
    assert [row.step for row in reader.evaluations(run_id)] == [0, 2]
    assert [row.folder for row in reader.checkpoints(run_id)] == ["step-000001", "step-000002"]
    assert sorted(path.name for path in runner.checkpoints(run_id).iterdir()) == ["step-000001", "step-000002"]
    assert len([event for event in heard if isinstance(event, StepDone)]) == 2
    assert end_in_words(run).startswith(f"Run {run_id} finished after 2 of 2 steps, held-out score 0.")


def test_what_is_unwise_stands_in_the_diary_of_a_run_that_is_started_all_the_same(lab, config_of):
    runner, reader = lab
    config = config_of(rollout={"group_size": 4}, loss={"reference_guidance": 2.0, "kl_weight": 0.0, "dual_clip": 0.0})
    run_id = runner.start(config)
    assert runner.wait(PATIENCE_SECONDS)
    messages = [row.message for row in reader.diary(run_id)]
    assert len(cautions(config)) == 4
    assert set(cautions(config)) < set(messages)


UPSIDE_DOWN = """
import numpy as np
from dgpo_core.rewards.contract import Trial

class Dark:
    def __call__(self, pictures, prompts):
        return [-float(picture.mean()) for picture in pictures]

    def trials(self):
        light, dark = (np.full((8, 8, 3), shade, np.uint8) for shade in (200, 20))
        return [Trial(light, dark, "")]
"""
UPSIDE_DOWN_FAILED = "The self-test failed: upside_down.py:Dark puts 0 of 1 good pictures above their bad counterparts"


def test_a_reward_that_fails_its_self_test_ends_the_run_before_it_draws(lab, config_of, tmp_path):
    runner, reader = lab
    (tmp_path / "upside_down.py").write_text(UPSIDE_DOWN)
    run_id = runner.start(config_of(reward={"train": "upside_down.py:Dark"}))
    assert runner.wait(PATIENCE_SECONDS)
    run = reader.run(run_id)
    assert (run.state, reader.evaluations(run_id)) == (RunState.FAILED, [])
    assert run.message.startswith(UPSIDE_DOWN_FAILED)
    assert "set reward.self_test to warn" in run.message


def test_a_failed_self_test_that_only_warns_stands_in_the_diary_once(lab, config_of, tmp_path):
    runner, reader = lab
    (tmp_path / "upside_down.py").write_text(UPSIDE_DOWN)
    own = "upside_down.py:Dark"
    run_id = runner.start(config_of(reward={"train": own, "evaluation": own, "watch": own, "self_test": "warn"}))
    assert runner.wait(PATIENCE_SECONDS)
    assert reader.run(run_id).state == RunState.FINISHED
    assert [row.message.startswith(UPSIDE_DOWN_FAILED) for row in reader.diary(run_id)].count(True) == 1


def test_settings_that_contradict_each_other_begin_no_run(lab, config_of):
    runner, reader = lab
    with pytest.raises(ConfigError, match="only 1 of the 2 sampling sigmas"):
        runner.start(config_of(loss={"sigma_source": "grid", "num_sigmas": 2, "sigma_min": 0.6}))
    assert reader.runs() == []


def test_exactly_one_run_begins_however_many_ask_at_once(lab, endless):
    runner, reader = lab
    at_once = Barrier(8)

    def start(_):
        at_once.wait()
        try:
            return runner.start(endless)
        except StoreError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(start, range(8)))
    begun = [answer for answer in answers if isinstance(answer, int)]
    refused = {answer for answer in answers if isinstance(answer, str)}
    assert len(begun) == 1
    assert refused == {
        f"Run {begun[0]} (my run) is live; the lab does one thing at a time. Wait for it or stop it first."
    }
    assert [run.id for run in reader.runs()] == begun


def test_the_next_run_begins_as_soon_as_the_last_is_seen_to_have_ended(lab, config_of):
    runner, reader = lab
    for _ in range(4):
        run_id = runner.start(config_of(schedule={"num_steps": 1}))
        wait_for(lambda run_id=run_id: not reader.run(run_id).state.is_live)
    assert runner.wait(PATIENCE_SECONDS)
    assert [run.state for run in reader.runs()] == [RunState.FINISHED] * 4


def test_another_runner_on_the_folder_is_refused_but_may_send_commands(lab, endless, tmp_path):
    runner, reader = lab
    run_id = runner.start(endless)
    wait_for(is_training(reader, run_id))
    with opened(tmp_path) as (other, _):
        assert reader.run(run_id).state is RunState.RUNNING
        with pytest.raises(StoreError, match=rf"A run is already training in .* \(process {os.getpid()} on .* first\."):
            other.start(endless)
        with pytest.raises(StoreError, match="A run is already training"):
            other.resume(run_id)
        other.send(run_id, Stop())
        assert runner.wait(PATIENCE_SECONDS)
    assert [run.state for run in reader.runs()] == [RunState.STOPPED]


def test_a_training_lock_of_another_process_is_respected(lab, endless, tmp_path):
    runner, reader = lab
    script = "import sys; from pathlib import Path; from app.store.lock import LabLock\n"
    script += (
        "lock = LabLock(Path(sys.argv[1]), 'training'); lock.acquire(); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=rf"already training in .* \(process {holder.pid} on"):
            runner.start(endless)
        assert reader.runs() == []
    finally:
        holder.kill()
        holder.communicate()
    run_id = runner.start(endless)
    wait_for(is_training(reader, run_id))


def test_what_is_wrong_with_the_settings_fails_the_run_in_its_own_words(lab, config_of, tmp_path):
    runner, reader = lab
    run_id = runner.start(config_of(model={"folder": str(tmp_path / "nowhere")}))
    assert runner.wait(PATIENCE_SECONDS)
    run = reader.run(run_id)
    assert run.state is RunState.FAILED
    assert run.message.startswith(f"There is no model in {tmp_path / 'nowhere'}: it has no model_index.json.")
    assert "ModelError" in run.details
    assert end_in_words(run) == f"Run {run_id} failed: {run.message}"


def test_an_exception_fails_the_run_with_its_traceback_and_the_next_one_starts(lab, config_of):
    runner, reader = lab

    def explode(event):
        if isinstance(event, StepDone) and event.step == 1:
            raise KeyError("boom")

    run_id = runner.start(config_of(), on_event=explode)
    assert runner.wait(PATIENCE_SECONDS)
    run = reader.run(run_id)
    assert run.state is RunState.FAILED
    assert "unexpected error, KeyError: 'boom'" in run.message
    assert "\n" not in run.message
    assert run.details.startswith("Traceback (most recent call last):")
    assert "in explode" in run.details
    assert run.details.rstrip().endswith("KeyError: 'boom'")
    assert runner.start(config_of()) == run_id + 1
    assert runner.wait(PATIENCE_SECONDS)
    assert reader.run(run_id + 1).state is RunState.FINISHED
    assert runner.resume(run_id) == run_id
    assert runner.wait(PATIENCE_SECONDS)
    assert (reader.run(run_id).state, reader.run(run_id).message) == (RunState.FINISHED, "")


def test_pause_sample_save_resume_and_stop_go_through_the_store(lab, endless):
    runner, reader = lab
    run_id = runner.start(endless)
    wait_for(is_training(reader, run_id))
    runner.send(run_id, Pause())
    wait_for(lambda: reader.run(run_id).state is RunState.PAUSED)
    step = reader.latest_step(run_id)
    runner.send(run_id, SampleNow(("a zebra",), 3))
    runner.send(run_id, SaveNow())
    wait_for(lambda: reader.checkpoints(run_id))
    assert [row.prompt for row in reader.previews(run_id)] == ["a zebra"]
    assert reader.checkpoints(run_id)[0].step == step + 1
    assert reader.latest_step(run_id) == step
    runner.send(run_id, Resume())
    wait_for(lambda: reader.latest_step(run_id) > step)
    runner.send(run_id, Stop())
    assert runner.wait(PATIENCE_SECONDS)
    run = reader.run(run_id)
    assert run.state is RunState.STOPPED
    assert reader.checkpoints(run_id)[-1].step == run.step + 1
    with pytest.raises(StoreError, match=r"is stopped, so it cannot take Pause\. Start or resume a run first"):
        runner.send(run_id, Pause())


def test_closing_stops_the_run_and_it_can_be_resumed(config_of, tmp_path):
    with opened(tmp_path) as (runner, reader):
        run_id = runner.start(config_of(schedule={"num_steps": 100_000, "checkpoint_every": 100_000}))
        wait_for(is_training(reader, run_id))
    with opened(tmp_path) as (runner, reader):
        run = reader.run(run_id)
        assert run.state is RunState.STOPPED
        assert [row.step for row in reader.checkpoints(run_id)] == [run.step + 1]
        runner.resume(run_id)
        wait_for(lambda: reader.latest_step(run_id) > run.step + 1)
    with opened(tmp_path) as (_, reader):
        steps = [row.step for row in reader.steps(run_id)]
        assert steps == list(range(len(steps)))


def test_closing_when_nothing_runs_is_quick(lab):
    runner, _ = lab
    started = time.monotonic()
    runner.close()
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("ask", ["resume", "request_comparison"])
def test_a_run_that_is_gone_is_named(lab, ask):
    runner, _ = lab
    arguments = {"resume": (77,), "request_comparison": (77, None, 1, 0)}[ask]
    with pytest.raises(StoreError, match=r"There is no run 77 any more\. Choose one from the list of runs"):
        getattr(runner, ask)(*arguments)


def test_deleting_removes_the_files_and_is_refused_while_live(lab, finished, endless, tmp_path):
    runner, reader = lab
    folder = runner.checkpoints(finished)
    of_others, models = tmp_path / "preferences" / "77", tmp_path / "models" / f"run-{finished}-step-2"
    for learned in (tmp_path / "preferences" / str(finished) / "version-1", of_others, models):
        learned.mkdir(parents=True)
    run_id = runner.start(endless)
    with pytest.raises(StoreError, match="Stop it first, then delete it"):
        runner.delete(run_id)
    assert folder.is_dir()
    runner.delete(finished)
    assert not folder.parent.exists()
    assert [*(tmp_path / "preferences").iterdir()] == [of_others]
    assert models.is_dir()
    assert reader.run(finished) is None
    assert reader.run(run_id).state.is_live


def test_a_run_that_lost_its_process_is_interrupted_when_somebody_speaks_to_it(lab, tmp_path):
    runner, reader = lab
    with Writer(tmp_path / "lab.db") as gone:
        run_id = gone.create_run({"name": "lost"}, 5)
    assert reader.run(run_id).state is RunState.STARTING
    with pytest.raises(StoreError, match=r"is interrupted, so it cannot take Stop\. Start or resume a run first"):
        runner.send(run_id, Stop())
    assert reader.run(run_id).state is RunState.INTERRUPTED


def test_a_run_whose_checkpoints_are_all_damaged_is_not_begun_anew_over_what_it_has_done(lab, finished):
    runner, reader = lab
    for file in runner.checkpoints(finished).rglob("tensors.safetensors"):
        file.write_bytes(b"")
    with pytest.raises(CheckpointError, match=rf"Run {finished} cannot go on: no checkpoint in .* is whole"):
        runner.resume(finished)
    assert reader.run(finished).state is RunState.FINISHED
    assert [row.step for row in reader.steps(finished)] == [0, 1]
    assert reader.live_run() is None


def test_a_run_that_was_never_saved_begins_anew(lab, config_of, tmp_path):
    runner, reader = lab
    with Writer(tmp_path / "lab.db") as gone:
        run_id = gone.create_run(to_dict(config_of()), 2)
    runner.resume(run_id)
    assert runner.wait(PATIENCE_SECONDS)
    assert [row.step for row in reader.steps(run_id)] == [0, 1]


def test_a_headless_run_that_is_killed_is_interrupted_and_resumes_where_it_was_saved(tmp_path, model_folder):
    recipe = write_recipe(tmp_path, model_folder, schedule={"num_steps": 100_000, "checkpoint_every": 2})
    command = [sys.executable, "-m", "app", "--folder", str(tmp_path), "train", str(recipe)]
    with (tmp_path / "log").open("w") as log:
        child = subprocess.Popen(
            command, cwd=PROJECT, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
    try:
        database = tmp_path / "lab.db"
        wait_for(lambda: database.exists() and Path(f"{tmp_path}/runs/1/checkpoints/step-000004").exists())
        with opened(tmp_path) as (runner, reader):
            assert reader.run(1).state is RunState.RUNNING
            with pytest.raises(StoreError, match=rf"already training in .* \(process {child.pid} on"):
                runner.resume(1)
            runner.send(1, Pause())
            wait_for(lambda: reader.run(1).state is RunState.PAUSED)
            runner.send(1, Resume())
            wait_for(lambda: reader.run(1).state is RunState.RUNNING)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    with opened(tmp_path) as (runner, reader):
        run = reader.run(1)
        assert run.state is RunState.INTERRUPTED
        saved = reader.checkpoints(1)[-1].step
        heard = []
        runner.resume(1, on_event=heard.append)
        wait_for(lambda: (reader.latest_step(1) or 0) > run.step + 1)
        assert next(event for event in heard if isinstance(event, RunStarted)).first_step >= saved > 0
        assert not [event for event in heard if isinstance(event, RunFailed)]
    with opened(tmp_path) as (_, reader):
        steps = [row.step for row in reader.steps(1, limit=10_000)]
        assert reader.run(1).state is RunState.STOPPED
        assert steps == list(range(len(steps)))


def test_a_stop_for_a_run_that_has_ended_is_refused(lab, finished):
    runner, _ = lab
    with pytest.raises(StoreError):
        runner.send(finished, Stop())
