"""A simulated annotator labels a live run from a process beside it, and touches nothing else."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from app.__main__ import main, opened_store
from app.settings import Settings
from app.simulated_rater import NO_RUN, rater_of
from app.store.rows import RunState
from dgpo_core.config import RunConfig, from_dict, to_dict
from dgpo_core.data.pictures import picture_of, png_bytes
from dgpo_core.errors import LabelError
from dgpo_core.events import EndReason, GroupsPosted, PostedGroup, RunEnded, RunStarted
from dgpo_core.label import label_from_row
from dgpo_core.rewards.annotators import TASTES, annotator

PROJECT = Path(__file__).parents[2]
ASKING = to_dict(from_dict({"people": {"weight": 1.0}}))


@pytest.fixture
def store(tmp_path):
    with opened_store(Settings(folder=tmp_path)) as (reader, writer):
        yield reader, writer


def started(writer, config=ASKING):
    """The id of a run that is live in the store."""
    run_id = writer.create_run(config, 1)
    writer.record(run_id, RunStarted(first_step=0, num_steps=1, num_trainable=1))
    writer.flush()
    return run_id


def post(writer, run_id, *, num_groups):
    """Opens groups of a red and a blue picture to labels."""
    pngs = tuple(png_bytes(np.full((8, 8, 3), colour, np.uint8)) for colour in ((0, 0, 255), (255, 0, 0)))
    groups = tuple(PostedGroup(index, f"prompt {index}", pngs) for index in range(num_groups))
    writer.record(run_id, GroupsPosted(step=0, groups=groups))
    writer.flush()


@pytest.mark.slow
def test_the_command_is_the_people_of_a_run_beside_it(tmp_path, lab, config_of, capsys):
    runner, reader = lab
    run_id = runner.start(config_of(people={"weight": 1.0}))
    assert main(["--folder", str(tmp_path), "label", "--as", "warm"]) == 0
    assert runner.wait(10)
    assert reader.run(run_id).state == RunState.FINISHED, reader.run(run_id).message
    labels = reader.labels_of_run(run_id)
    assert [(row.step, row.group_index, row.rater) for row in labels] == [
        (step, index, "simulated: warm") for step in (0, 1) for index in (0, 1)
    ]
    likes_warm = annotator(TASTES["warm"])
    for row in labels:
        pictures = [picture_of(reader.picture(sha)) for sha in reader.label_task(row.task_id).shas]
        assert label_from_row(row.kind, row.body, row.size) == likes_warm(pictures, np.random.default_rng())
    said = [f"run {run_id}, step {row.step}: judged {row.prompt!r}" for row in labels]
    out = capsys.readouterr().out.splitlines()
    assert [line for line in out if "judged" in line] == [*said, "simulated: warm judged 4 groups."]


def test_groups_of_other_runs_are_left_to_those_they_wait_for(store):
    reader, writer = store
    other = started(writer)
    post(writer, other, num_groups=1)
    writer.record(other, RunEnded(step=1, reason=EndReason.FINISHED))
    run_id = started(writer)
    post(writer, run_id, num_groups=2)
    rater = rater_of("warm", 0.0, "ann")
    judged = [rater.judge_next(reader, writer, run_id) for _ in range(3)]
    assert [task and (task.run_id, task.group_index) for task in judged] == [(run_id, 0), (run_id, 1), None]
    assert [row.body for row in reader.labels_of_run(run_id)] == [{"tiers": [[1], [0]]}] * 2
    assert reader.labels_of_run(other) == []
    assert reader.label_task(writer.lease_next("somebody")).run_id == run_id  # to be judged twice, if anybody wants to
    writer.record(run_id, RunEnded(step=1, reason=EndReason.FINISHED))
    assert rater.judge_next(reader, writer, run_id) is None


def test_two_raters_of_one_taste_err_at_different_places(store):
    reader, writer = store
    run_id = started(writer)
    post(writer, run_id, num_groups=12)
    said = {}
    for name in ("ann", "bob"):
        rater = rater_of("warm", 0.5, name)
        while (task := rater.judge_next(reader, writer, run_id)) is not None:
            said.setdefault(name, []).append(reader.label_of(task.id, name).body)
    assert len(said["ann"]) == len(said["bob"]) == 12
    assert said["ann"] != said["bob"]


def test_a_name_that_nobody_may_have_is_refused(store):
    reader, writer = store
    run_id = started(writer)
    post(writer, run_id, num_groups=1)
    with pytest.raises(LabelError, match="Your name must be 1 to 60 printable characters, got ''"):
        rater_of("warm", 0.0, "").judge_next(reader, writer, run_id)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--as", "lrge"], "There is no simulated annotator 'lrge'. Known: large, warm. Name one.\n"),
        (
            ["--as", "large", "--noise", "1.5"],
            "--noise must be 0 to 1, the chance that neighbours are swapped, got 1.5. Try 0.1.\n",
        ),
        (
            ["--as", "large", "--noise", "nan"],
            "--noise must be 0 to 1, the chance that neighbours are swapped, got nan. Try 0.1.\n",
        ),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_a_sentence(tmp_path, capsys, arguments, message):
    assert main(["--folder", str(tmp_path), "label", *arguments]) == 2
    assert capsys.readouterr() == ("", message)


def test_a_run_that_asks_nobody_is_said_to(store, tmp_path, capsys):
    _, writer = store
    run_id = started(writer, to_dict(RunConfig(name="alone")))
    assert main(["--folder", str(tmp_path), "label", "--as", "large"]) == 2
    assert capsys.readouterr().err == (
        f"Run {run_id} (alone) asks nobody: its people.weight is 0. "
        "Wait for its end or stop it, and start one with --set people.weight=1.\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_waits_for_a_run_until_it_is_told_to_end(tmp_path, ending):
    command = [sys.executable, "-c", "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"]
    command[-1] += "from app.__main__ import main; import sys; sys.exit(main(sys.argv[1:]))"
    child = subprocess.Popen(
        [*command, "--folder", str(tmp_path), "label", "--as", "large"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        assert child.stdout.readline() == f"{NO_RUN}\n"
        child.send_signal(ending)
        assert (child.communicate(timeout=60)[0], child.returncode) == ("simulated: large judged 0 groups.\n", 0)
    finally:
        child.kill()
        child.wait()
