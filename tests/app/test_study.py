"""What is learned from labels during a run, through the runner and the store, from raters whose taste is known."""

import json
from contextlib import closing, suppress
from threading import Event

import numpy as np
import pytest
import torch
from lab_folder import PATIENCE_SECONDS, opened, wait_for
from sqlite_utils.utils import sqlite3
from tiny_models import clip_folder

from app.recorder import Recorder
from app.settings import Settings
from app.store.reader import Reader
from app.store.rows import Agreement, LabelRow, RunState, Said, SampleRow
from app.store.writer import Writer
from app.study import Automatic, Study, between, said_in_terms
from dgpo_core.data.pictures import picture_of, png_bytes
from dgpo_core.errors import LabelError
from dgpo_core.events import GroupsPosted, PostedGroup, Stop
from dgpo_core.label import label_to_row
from dgpo_core.rewards.annotators import annotator
from dgpo_core.rewards.image_statistics import brightness

PEOPLE = {"weight": 1.0, "groups_asked": 2, "without_label": "model"}
SETTINGS = {"people": PEOPLE, "rollout": {"groups_per_step": 3, "group_size": 4}, "schedule": {"num_steps": 4}}


def answer(runner, reader, rater, annotate):
    """Has an annotator judge every group that a rater is given now."""
    while (task_id := runner.lease_next(rater)) is not None:
        judge(runner, reader, rater, annotate, task_id)


def judge(runner, reader, rater, annotate, task_id):
    """Has an annotator judge a group."""
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
    people = PEOPLE | {"repeat_share": 0.5, "groups_asked": 0}
    run_id = runner.start(config_of(**SETTINGS | {"people": people}))
    bright, dark = annotator(brightness), annotator(brightness, is_adversarial=True)
    together = {"bob": bright, "eve": dark, "ann": bright}
    while not runner.wait(0.02):
        *shared, last = [task.id for task in reader.label_tasks(run_id) if task.is_open] or [None]
        for task_id in shared:  # all of a step's groups but its last are judged by everybody
            for rater, annotate in together.items():
                judge(runner, reader, rater, annotate, task_id)
        if last is not None:
            answer(runner, reader, "ann", bright)  # who now gets what is asked again, and then the last
    assert reader.run(run_id).state == RunState.FINISHED, reader.run(run_id).message
    found = {(row.name, row.kind, row.other): row for row in reader.agreements(run_id)}
    assert {key: (pytest.approx(row.tau), row.count) for key, row in found.items() if key[1] != "reward"} == {
        ("ann", "self", "ann"): (1, 5),
        ("ann", "person", "bob"): (1, 8 + 4),
        ("ann", "person", "eve"): (-1, 8 + 4),
        ("bob", "person", "ann"): (1, 8),
        ("bob", "person", "eve"): (-1, 8),
        ("eve", "person", "ann"): (-1, 8),
        ("eve", "person", "bob"): (-1, 8),
    }
    assert found["ann", "reward", "brightness"].tau == pytest.approx(1)
    assert found["eve", "reward", "brightness"].tau == pytest.approx(-1)


def said_row(number, rater, order, **changes):
    """A ranking of four pictures, best first."""
    known = {"task_id": 1, "step": 0, "group_index": 0, "created": "", "seconds": 1.0, "prompt": "a cat"}
    body = {"tiers": [[member] for member in order]}
    return LabelRow(**known | {"id": number, "rater": rater, "kind": "ranking", "body": body, "size": 4} | changes)


def test_two_people_are_compared_both_ways_and_a_repeat_with_what_it_repeats_in_the_first_order():
    rows = [
        said_row(1, "ann", (0, 1, 2, 3)),
        said_row(2, "eve", (3, 2, 1, 0)),
        said_row(3, "ann", (2, 0, 3, 1), task_id=2, repeat_of=1, places=(1, 3, 0, 2)),
    ]
    assert list(between(rows)) == [
        Agreement(1, "person", "eve", pytest.approx(-1)),
        Agreement(2, "person", "ann", pytest.approx(-1)),
        Agreement(3, "self", "ann", pytest.approx(1)),
        Agreement(3, "person", "eve", pytest.approx(-1)),
    ]
    assert list(between(rows[:1])) == []


def sample_row(member, *terms):
    return SampleRow(id=member, member=member, seed=0, sha="", reward=0.0, terms=terms, advantage=0.0)


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        ("geneval", {"geneval": [2.0, None]}),
        ("mine.py:level", {"mine.py:level": [2.0, None]}),
        ("ocr*0.7 + clipscore*0.3", {"ocr*0.7 + clipscore*0.3": [2.0, None], "ocr": [0.5, 0.25]}),
        ("ocr*-1", {"ocr*-1": [2.0, None], "ocr": [0.5, 0.25]}),
    ],
)
def test_what_a_runs_own_reward_said_is_read_from_the_terms_of_its_pictures(reward, expected):
    terms = ("people", 1.0), ("reward", 2.0), ("ocr", 0.5)
    assert said_in_terms(reward, [sample_row(0, *terms), sample_row(1, ("people", 0.0), ("ocr", 0.25))]) == expected
    assert said_in_terms(reward, [sample_row(0, ("people", 1.0))]) == {}


class Held:
    """Features that are not given before they may be."""

    kind = "held"

    def __init__(self):
        self.are_asked, self.may_come = Event(), Event()

    def __call__(self, pictures, prompts):
        self.are_asked.set()
        assert self.may_come.wait(PATIENCE_SECONDS / 6)
        return torch.stack([torch.tensor(picture.mean((0, 1)) / 255, dtype=torch.float32) for picture in pictures])

    def weights(self):
        return torch.ones(3)


def test_a_step_begins_to_learn_and_does_not_wait_for_it(tmp_path):
    settings, held = Settings(folder=tmp_path), Held()
    rng = np.random.default_rng(0)
    pngs = [tuple(png_bytes(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for _ in range(4)) for _ in range(4)]
    with Writer(settings.database) as writer, closing(Reader(settings.database)) as reader:
        run_id = writer.create_run({"name": "held"}, 2)
        posted = tuple(PostedGroup(index, "a cat", one) for index, one in enumerate(pngs))
        writer.record(run_id, GroupsPosted(step=0, groups=posted))
        writer.flush()
        answer(writer, reader, "ann", annotator(brightness))
        recorder = Recorder(writer, run_id)
        study = Study(
            run_id,
            reader=reader,
            recorder=recorder,
            emit=recorder.record,
            features=held,
            automatic=Automatic(asked={}, trained="brightness"),
            folder=settings.preferences(run_id),
            seed=0,
        )
        with study:
            begun = study.begin(1)
            assert held.are_asked.wait(PATIENCE_SECONDS)
            assert not begun.done()
            held.may_come.set()
            assert study(1).features is held


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


def test_a_preference_over_what_a_clip_sees_is_learned_and_trained_on_with_the_same_clip(lab, config_of, tmp_path):
    runner, reader = lab
    clip_folder(tmp_path / "clip")
    first = runner.start(config_of(**SETTINGS | {"people": PEOPLE | {"clip_folder": "clip"}}))
    answer_until_it_ends(runner, reader, ann=annotator(brightness))
    assert reader.run(first).state == RunState.FINISHED, reader.run(first).message
    version = tmp_path / "preferences" / f"{first}" / reader.preferences(first)[-1].folder
    assert json.loads((version / "preference.json").read_text())["features"] == "clip with things"
    people = {"preference": f"{version.relative_to(tmp_path)}", "clip_folder": "clip"}
    second = runner.start(config_of(reward={"train": "preference"}, people=people))
    assert runner.wait(PATIENCE_SECONDS)
    assert reader.run(second).state == RunState.FINISHED, reader.run(second).message
    (group, *_) = reader.groups(second, 1)
    assert group.has_preference
    assert terms(group) == {"doubt"}


def test_labels_are_compared_with_every_reward_that_a_mixture_asked_for_up_to_the_last_step(lab, config_of):
    runner, reader = lab
    mixture = "sharpness*0.3 + symmetry*0.7"
    run_id = runner.start(config_of(**SETTINGS | {"reward": {"train": mixture}, "people": PEOPLE | {"weight": 0.5}}))
    answer_until_it_ends(runner, reader, ann=annotator(brightness))
    assert reader.run(run_id).state == RunState.FINISHED, reader.run(run_id).message
    compared = {row.other: row.count for row in reader.agreements(run_id) if row.kind == "reward"}
    assert compared.items() >= dict.fromkeys((mixture, "sharpness", "symmetry", "brightness"), 8).items()


def test_a_reward_of_ones_own_may_train_beside_people_and_labels_are_compared_with_what_it_said(
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
    compared = {row.other: row.count for row in reader.agreements(run_id) if row.kind == "reward"}
    assert (compared["brightness"], compared[own]) == (8, 8)


def test_a_preference_that_is_not_there_is_said(lab, config_of):
    runner, reader = lab
    run_id = runner.start(config_of(reward={"train": "preference"}, people={"preference": "nowhere"}))
    assert runner.wait(PATIENCE_SECONDS)
    assert "There is no learned preference in nowhere" in reader.run(run_id).message
