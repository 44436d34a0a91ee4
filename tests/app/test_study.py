"""What is learned from labels during a run, through the runner and the store, from raters whose taste is known."""

from contextlib import closing, suppress

import numpy as np
import pytest
from lab_folder import PATIENCE_SECONDS, opened, wait_for
from sqlite_utils.utils import sqlite3

from app.store.rows import RunState, Said
from dgpo_core.data.pictures import picture_of
from dgpo_core.errors import LabelError
from dgpo_core.events import Stop
from dgpo_core.label import label_to_row
from dgpo_core.rewards.annotators import annotator
from dgpo_core.rewards.image_statistics import brightness

pytestmark = pytest.mark.slow

PEOPLE = {"weight": 1.0, "groups_asked": 2, "without_label": "model"}
SETTINGS = {"people": PEOPLE, "rollout": {"groups_per_step": 3, "group_size": 4}, "schedule": {"num_steps": 4}}


def answer(runner, reader, rater, annotate):
    """Has an annotator judge every group that a rater is given now."""
    while (task_id := runner.lease_next(rater)) is not None:
        task = reader.label_task(task_id)
        pictures = [picture_of(reader.picture(sha)) for sha in task.shas]
        kind, body = label_to_row(annotate(pictures, np.random.default_rng(task_id)))
        said = Said(task_id=task_id, rater=rater, kind=kind, body=body, seconds=1.0, request=f"{rater} {task_id}")
        with suppress(LabelError):  # the step may have gone on meanwhile
            runner.put_label(said)


def answer_until_it_ends(runner, reader, **annotators):
    while not runner.wait(0.02):
        for rater, annotate in annotators.items():
            answer(runner, reader, rater, annotate)


def terms(group):
    return {name for sample in group.samples for name, _ in sample.terms}


def test_labels_teach_a_model_that_judges_the_groups_nobody_was_asked_about(lab, config_of):
    runner, reader = lab
    run_id = runner.start(config_of(**SETTINGS))
    answer_until_it_ends(runner, reader, ann=annotator(brightness))
    assert reader.run(run_id).state == RunState.FINISHED, reader.run(run_id).message
    judged = [[terms(group) for group in reader.groups(run_id, step)] for step in range(4)]
    assert sorted(map(len, judged[0])) == [0, 1, 1]
    for of_step in judged[2:]:
        assert sorted(map(tuple, of_step)) == [("learned",), ("people",), ("people",)]
    versions = reader.preferences(run_id)
    assert [(row.version, row.step, row.num_groups) for row in versions] == [(1, 2, 4), (2, 3, 6), (3, 4, 8)]
    assert all(0 <= row.accuracy <= 1 and 0 <= row.calibration_error <= 1 for row in versions)
    assert len(reader.labels_of_run(run_id)) == 8


def test_the_same_labels_teach_the_same_bits(tmp_path, config_of):
    written = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        with opened(tmp_path / name) as (runner, reader):
            run_id = runner.start(config_of(**SETTINGS))
            answer_until_it_ends(runner, reader, ann=annotator(brightness))
            assert reader.run(run_id).state == RunState.FINISHED
        written.append([path.read_bytes() for path in sorted((tmp_path / name).rglob("heads.safetensors"))])
    assert len(written[0]) == 3
    assert written[0] == written[1]


def answer_up_to(step, run_id, runner, reader):
    """Ann judges what waits until the step is done; then the run is stopped."""

    def is_done():
        answer(runner, reader, "ann", annotator(brightness))
        return (reader.latest_step(run_id) or 0) >= step

    wait_for(is_done)
    runner.send(run_id, Stop())
    assert runner.wait(PATIENCE_SECONDS)


def test_a_run_taken_up_again_goes_on_with_what_its_labels_taught(lab, config_of):
    runner, reader = lab
    run_id = runner.start(config_of(**SETTINGS | {"schedule": {"num_steps": 6, "checkpoint_every": 1}}))
    answer_up_to(2, run_id, runner, reader)
    before = {row.version: row.num_groups for row in reader.preferences(run_id)}
    runner.resume(run_id)
    answer_until_it_ends(runner, reader, ann=annotator(brightness))
    assert reader.run(run_id).state == RunState.FINISHED, reader.run(run_id).message
    after = {row.version: row.num_groups for row in reader.preferences(run_id)}
    assert before.items() <= after.items()
    assert list(after) == list(range(1, len(after) + 1))
    assert after[len(after)] == 12


def test_a_group_that_lost_a_picture_is_left_out_said_once_and_the_run_goes_on(lab, config_of, tmp_path):
    runner, reader = lab
    run_id = runner.start(config_of(**SETTINGS))
    answer_up_to(1, run_id, runner, reader)
    first = next(task for task in reader.label_tasks(run_id) if task.step == 0)
    with closing(sqlite3.connect(tmp_path / "lab.db")) as other_program:
        other_program.execute("DELETE FROM pictures WHERE sha = ?", [first.shas[1]])
        other_program.commit()
    runner.resume(run_id)
    answer_until_it_ends(runner, reader, ann=annotator(brightness))
    assert reader.run(run_id).state == RunState.FINISHED, reader.run(run_id).message
    assert [line.message for line in reader.diary(run_id) if "gone" in line.message] == [
        f"Picture 2 is gone from the store, of group {first.group_index + 1} of step 0. What people said of it is left "
        "out of what is learned from labels."
    ]
    assert reader.preferences(run_id)[-1].num_groups == 7


def test_it_is_known_who_agrees_with_whom_with_themselves_and_with_which_reward(lab, config_of):
    runner, reader = lab
    people = PEOPLE | {"repeat_share": 0.5, "wait_seconds": 1.0, "groups_asked": 0}
    run_id = runner.start(config_of(**SETTINGS | {"people": people}))
    bright, dark = annotator(brightness), annotator(brightness, is_adversarial=True)
    answer_until_it_ends(runner, reader, ann=bright, bob=bright, eve=dark)
    assert reader.run(run_id).state == RunState.FINISHED, reader.run(run_id).message
    found = {(row.name, row.kind, row.other): row.tau for row in reader.agreements(run_id)}
    assert found["ann", "reward", "brightness"] == pytest.approx(1)
    repeated = {row.rater: row.num_repeats for row in reader.raters(run_id)}
    for rater, num_repeats in repeated.items():
        if num_repeats:
            assert found[rater, "self", rater] == pytest.approx(1)
    assert sum(repeated.values()) > 0
    if ("eve", "person", "ann") in found:
        assert found["eve", "person", "ann"] == pytest.approx(-1)


def test_what_was_learned_can_be_trained_on_alone(lab, config_of, tmp_path):
    runner, reader = lab
    first = runner.start(config_of(**SETTINGS))
    answer_until_it_ends(runner, reader, ann=annotator(brightness))
    version = reader.preferences(first)[-1]
    settings = {"reward": {"train": "preference"}, "people": {"preference": f"preferences/{first}/{version.folder}"}}
    second = runner.start(config_of(**settings))
    assert runner.wait(PATIENCE_SECONDS)
    assert reader.run(second).state == RunState.FINISHED, reader.run(second).message
    (group, *_) = reader.groups(second, 1)
    assert group.has_preference
    assert terms(group) == {"doubt"}
    settings["reward"] = {"train": "preference*0.7 + brightness*0.3", "watch": "preference"}
    third = runner.start(config_of(**settings))
    assert runner.wait(PATIENCE_SECONDS)
    assert reader.run(third).state == RunState.FINISHED, reader.run(third).message
    (group, *_) = reader.groups(third, 1)
    assert group.has_preference
    assert terms(group) == {"preference", "brightness"}


def test_a_reward_of_ones_own_may_train_beside_people_and_labels_are_compared_with_the_quick_ones_only(
    lab, config_of, tmp_path
):
    runner, reader = lab
    (tmp_path / "mine.py").write_text(
        "def level(pictures, prompts):\n    return [float(one.mean()) for one in pictures]"
    )
    own = f"{tmp_path}/mine.py:level"
    run_id = runner.start(config_of(**SETTINGS | {"reward": {"train": own}, "people": PEOPLE | {"weight": 0.5}}))
    answer_until_it_ends(runner, reader, ann=annotator(brightness))
    assert reader.run(run_id).state == RunState.FINISHED, reader.run(run_id).message
    compared = {row.other for row in reader.agreements(run_id) if row.kind == "reward"}
    assert "brightness" in compared
    assert own not in compared


def test_a_preference_that_is_not_there_is_said(lab, config_of):
    runner, reader = lab
    run_id = runner.start(config_of(reward={"train": "preference"}, people={"preference": "nowhere"}))
    assert runner.wait(PATIENCE_SECONDS)
    assert "There is no learned preference in nowhere" in reader.run(run_id).message
