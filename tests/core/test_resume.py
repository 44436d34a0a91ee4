import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from killed_run import SCHEDULE
from small_run import Listener, numbers_at, run, small_config, small_parts

from dgpo_core.checkpoint import Checkpoint, find_damage, load_checkpoint, newest_checkpoint, save_checkpoint, step_of
from dgpo_core.config import UpdateConfig
from dgpo_core.errors import CheckpointError
from dgpo_core.events import CheckpointSaved, EndReason, EvaluationDone, RunStarted, StepDone, Warned
from dgpo_core.training_state import TrainingState

CONFIG = small_config(schedule=SCHEDULE)
PLACES = ["question:9", "question:20", "question:33", "replace:3", "fsync:7", "fsync:13", "unlink:2", "rmdir:3"]


class Unbroken(NamedTuple):
    """Six steps without a break: their checkpoints, the hash of everything after them, what they reported."""

    folder: Path
    numbers: str
    told: dict[int, tuple]


@pytest.fixture(scope="module")
def unbroken(loaded_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    _, heard = run(CONFIG, small_parts(loaded_model, folder, CONFIG))
    return Unbroken(folder, numbers_at(folder / "step-000006", loaded_model, CONFIG), reported(heard))


@pytest.fixture
def finished(unbroken, tmp_path):
    """The checkpoints of a run that has done its six steps, the test's own."""
    return Path(shutil.copytree(unbroken.folder, tmp_path / "finished"))


def reported(heard):
    """What the steps told, without their seconds."""
    return {event.step: (event.groups, event.metrics.grad_norm, event.metrics.kl) for event in heard.of(StepDone)}


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("at", [1, 3, 5])
def test_six_steps_are_the_same_as_some_and_a_kill_and_the_rest(model, tmp_path, unbroken, at):
    def kill(event):
        if isinstance(event, CheckpointSaved) and event.step == at:
            raise Killed

    first = Listener()
    with pytest.raises(Killed):
        run(CONFIG, small_parts(model, tmp_path, CONFIG), listener=first, emit=kill)
    newest = newest_checkpoint(tmp_path)
    assert newest.name == f"step-{at:06d}"
    reason, rest = run(CONFIG, small_parts(model, tmp_path, CONFIG), resume_from=newest)
    assert reason is EndReason.FINISHED
    assert rest.of(RunStarted)[0].first_step == at
    assert [event.step for event in rest.of(EvaluationDone)] == [6]
    assert reported(first) | reported(rest) == unbroken.told
    assert numbers_at(tmp_path / "step-000006", model, CONFIG) == unbroken.numbers


def test_a_run_with_an_old_policy_that_follows_slowly_resumes_the_same(model, tmp_path):
    slow = {"update": {"old_policy_decay": 0.5}, "rollout": {"old_policy_from_step": 2}}
    config = small_config(schedule=SCHEDULE, **slow)
    straight, rest = tmp_path / "straight", tmp_path / "rest"
    _, whole = run(config, small_parts(model, straight, config))
    shutil.copytree(straight / "step-000005", rest / "step-000005")
    _, heard = run(config, small_parts(model, rest, config), resume_from=rest / "step-000005")
    assert reported(heard) == {5: reported(whole)[5]}
    assert numbers_at(rest / "step-000006", model, config) == numbers_at(straight / "step-000006", model, config)
    saved = load_checkpoint(straight / "step-000006").tensors
    names = [name.removeprefix("policy/") for name in saved if name.startswith("policy/")]
    now, old = ([saved[f"{kind}/{name}"] for name in names] for kind in ("policy", "old_policy"))
    assert not all(torch.equal(one, other) for one, other in zip(now, old, strict=True))


def test_a_kill_between_checkpoints_repeats_the_steps_since_the_last_one(model, tmp_path, unbroken):
    config = small_config(schedule=SCHEDULE | {"checkpoint_every": 4})

    def kill(event):
        if isinstance(event, StepDone) and event.step == 5:
            raise Killed

    with pytest.raises(Killed):
        run(config, small_parts(model, tmp_path, config), emit=kill)
    _, rest = run(config, small_parts(model, tmp_path, config), resume_from=newest_checkpoint(tmp_path))
    assert [event.step for event in rest.of(StepDone)] == [4, 5]
    assert numbers_at(tmp_path / "step-000006", model, config) == unbroken.numbers


@pytest.fixture(scope="module")
def killed(model_folder, tmp_path_factory):
    """Folders of runs that were killed by SIGKILL, by the place it happened."""
    output = tmp_path_factory.mktemp("killed")
    script = Path(__file__).with_name("killed_run.py")
    environment = os.environ | {"PYTHONPATH": str(script.parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), str(model_folder), str(output), *PLACES],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return output


@pytest.mark.parametrize("place", PLACES)
def test_a_run_killed_by_the_system_goes_on_bit_for_bit(model, killed, unbroken, place):
    folder = killed / place
    newest = newest_checkpoint(folder)
    assert 0 < step_of(newest) < 6
    reason, rest = run(CONFIG, small_parts(model, folder, CONFIG), resume_from=newest)
    assert reason is EndReason.FINISHED
    assert {step: unbroken.told[step] for step in reported(rest)} == reported(rest)
    assert numbers_at(folder / "step-000006", model, CONFIG) == unbroken.numbers
    assert sorted(path.name for path in folder.iterdir()) == ["step-000005", "step-000006"]


def test_a_finished_run_resumed_finishes_again(model, finished, unbroken):
    reason, again = run(CONFIG, small_parts(model, finished, CONFIG), resume_from=finished / "step-000006")
    assert (reason, again.of(StepDone)) == (EndReason.FINISHED, [])
    assert numbers_at(finished / "step-000006", model, CONFIG) == unbroken.numbers


def test_a_checkpoint_beyond_the_one_taken_up_is_dropped(model, finished):
    torn = finished / "step-000006" / "tensors.safetensors"
    torn.write_bytes(torn.read_bytes()[:-1])
    assert newest_checkpoint(finished).name == "step-000005"
    short = small_config(schedule=SCHEDULE | {"num_steps": 5})
    run(short, small_parts(model, finished, short), resume_from=finished / "step-000005")
    assert [path.name for path in finished.iterdir()] == ["step-000005"]
    assert find_damage(finished / "step-000005") == ""


def test_other_conditions_are_said(model, finished, tmp_path):
    saved = load_checkpoint(finished / "step-000006")
    versions = saved.versions | {"torch": "1.0"}
    other = Checkpoint(step=6, tensors=saved.tensors, identity=saved.identity, config=saved.config, versions=versions)
    folder = save_checkpoint(tmp_path / "other", other)
    _, heard = run(CONFIG, small_parts(model, tmp_path / "other", CONFIG), resume_from=folder)
    assert [event.message for event in heard.of(Warned)] == [
        f"Resumed under other conditions, so not bit for bit: torch 1.0 then, {saved.versions['torch']} now."
    ]


@pytest.fixture
def saved(unbroken):
    """The tensors of the state after six steps, the test's own."""
    return load_checkpoint(unbroken.folder / "step-000006").tensors


def change(tensors, name, value):
    changed = dict(tensors)
    if value is None:
        del changed[name]
    else:
        changed[name] = value
    return changed


@pytest.mark.parametrize(
    ("pick", "value", "message"),
    [
        ("policy/", None, "got nothing, expected"),
        ("averaged/", None, "got nothing, expected"),
        ("old_policy/", None, "got nothing, expected"),
        ("adam/exp_avg/", None, "got nothing, expected"),
        ("adam/step/", None, "got nothing, expected"),
        ("policy/", torch.zeros(3), r"got \[3\] torch.float32, expected"),
        ("old_policy/", torch.zeros(3), r"got \[3\] torch.float32, expected"),
        ("adam/exp_avg_sq/", torch.zeros(3), r"got \[3\] torch.float32, expected"),
        ("adam/step/", torch.zeros((), dtype=torch.int64), r"got \[\] torch.int64, expected \[\] torch.float32"),
        ("", torch.zeros(1), r"in 1 places, first something: got \[1\] torch.float32, expected nothing"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_whole(model, saved, pick, value, message):
    name = next((name for name in saved if pick and name.startswith(pick)), "something")
    state = TrainingState(model.policy_parameters(), UpdateConfig())
    before = state.snapshot()
    with pytest.raises(CheckpointError, match=rf"differ from this model's.*{message}.*Resume with the model and LoRA"):
        state.load(change(saved, name, value), 6)
    after = state.tensors()
    assert state.step == 0
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_state_before_the_first_update_has_no_adam_and_can_be_loaded(model):
    state = TrainingState(model.policy_parameters(), UpdateConfig())
    before = state.snapshot()
    assert {name.split("/")[0] for name in before} == {"policy", "averaged", "old_policy"}
    with torch.no_grad():
        for parameter in state.parameters.values():
            parameter.add_(1)
    state.load(before, 0)
    assert all(torch.equal(one, before[name]) for name, one in state.tensors().items())


def test_what_is_loaded_lies_in_storage_of_its_own(model, saved):
    state = TrainingState(model.policy_parameters(), UpdateConfig())
    state.load(saved, 6)
    before = state.snapshot()
    for tensor in saved.values():
        tensor.zero_()
    assert state.step == 6
    assert all(torch.equal(one, before[name]) for name, one in state.tensors().items())
