"""What became of labels, from the store to plain values."""

from base64 import b64encode
from dataclasses import replace

import pytest
from conftest import HOSTILE, evaluation, start_run, step_done

from app.store.rows import LabelRow, Said
from app.ui.label_effects import NOTHING, LabelEffects, in_words, share_in_words
from dgpo_core.config import PeopleConfig, RunConfig, to_dict
from dgpo_core.events import GroupsClosed, GroupsPosted, PostedGroup


def label_step(writer, run_id, step, *raters, num_repeats=0):
    """A step that waits for people, gets their labels, and is done."""
    groups = tuple(
        PostedGroup(index, HOSTILE, tuple(f"{step} {index} {one}".encode() for one in range(3))) for index in range(1)
    )
    writer.record(run_id, GroupsPosted(step=step, groups=groups, num_repeats=num_repeats))
    writer.flush()
    for rater in raters:
        task_id = writer.lease_next(rater)
        body = {"tiers": [[2], [0, 1]]}
        writer.put_label(
            Said(task_id=task_id, rater=rater, kind="ranking", body=body, seconds=2.0, request=f"{rater} {task_id}")
        )
    writer.record(
        run_id,
        GroupsClosed(step=step, num_groups=1, num_asked=1, num_labelled=min(1, len(raters)), rest="it was left out"),
    )
    writer.record(run_id, step_done(step, HOSTILE))
    writer.flush()


@pytest.fixture
def run_id(writer):
    return start_run(writer, name="my taste")


def test_without_a_labelled_step_there_is_nothing_to_show(writer, reader, run_id):
    assert LabelEffects(reader).answer(None, None) == NOTHING
    label_step(writer, run_id, 0)
    assert LabelEffects(reader).answer(None, None) == NOTHING


def test_a_step_shows_its_labels_and_the_advantages_they_became(writer, reader, run_id):
    label_step(writer, run_id, 0, "ann")
    shown = LabelEffects(reader).answer(None, None)
    assert (shown["title"], shown["summary"]) == ("my taste, step 0", "1 label by ann on 1 of 1 group")
    [group] = shown["groups"]
    assert (group["prompt"], group["said"]) == (HOSTILE, ["ann: 3 > 1 = 2"])
    assert [(one["number"], one["advantage"]) for one in group["samples"]] == [(3, 1.0), (2, 0.0), (1, -1.0)]


def test_the_summary_says_how_much_peoples_word_counted(writer, reader):
    config = RunConfig(name="a mix", people=PeopleConfig(weight=0.75))
    label_step(writer, writer.create_run(to_dict(config), 600), 0, "ann")
    shown = LabelEffects(reader).answer(None, None)
    said = "1 label by ann on 1 of 1 group; people's word counted 75%, the automatic reward 25%"
    assert (shown["title"], shown["summary"]) == ("a mix, step 0", said)


def test_what_a_step_changed_is_measured_before_and_after_it(writer, reader, run_id):
    writer.record(run_id, evaluation(0, 0.25))
    label_step(writer, run_id, 0, "ann")
    label_step(writer, run_id, 1, "ann")
    shown = LabelEffects(reader).answer(None, None)
    assert [(one["before"], one["after"]) for one in shown["changes"]] == [(0.0, 1.0), (0.5, 1.0), (0.25, None)]
    assert (shown["pairs"], "come with the next examination" in shown["pairs_title"]) == ([], True)
    writer.record(run_id, evaluation(2, 0.75))
    writer.flush()
    shown = LabelEffects(reader).answer(None, None)
    assert (shown["changes"][2]["before"], shown["changes"][2]["after"]) == (0.25, 0.75)
    assert shown["pairs"] == [], "the same picture before and after shows no change"
    assert "at step 0 and at step 2; 2 steps lie between them" in shown["pairs_title"]


def test_the_arrows_walk_through_steps_with_labels_only(writer, reader, run_id):
    for step, raters in enumerate([("ann",), (), ("ann", "bob")]):
        label_step(writer, run_id, step, *raters)
    effects = LabelEffects(reader)
    newest = effects.answer(None, None)
    assert (newest["at"], newest["newer"], newest["older"]) == ([run_id, 2], None, (run_id, 0))
    assert newest["summary"] == "2 labels by ann, bob on 1 of 1 group"
    oldest = effects.answer(None, {"run": run_id, "step": 0})
    assert (oldest["at"], oldest["newer"], oldest["older"]) == ([run_id, 0], (run_id, 2), None)
    for nonsense in ({"run": run_id, "step": 1}, {"run": "1", "step": None}, [], 7):
        assert effects.answer(None, nonsense)["at"] == [run_id, 2]


def inline(png):
    return "data:image/png;base64," + b64encode(png).decode()


def test_small_pictures_come_with_the_answer(writer, reader, run_id):
    label_step(writer, run_id, 0, "ann")
    for step, colour in ((0, b"red"), (2, b"blue")):
        samples = (replace(evaluation(step).samples[0], png=colour),)
        writer.record(run_id, replace(evaluation(step), samples=samples))
    writer.flush()
    shown = LabelEffects(reader).answer(None, None)
    drawn = {sample.member + 1: inline(sample.png) for sample in step_done(0).groups[0].samples}
    assert {one["number"]: one["url"] for one in shown["groups"][0]["samples"]} == drawn
    assert [(one["before"], one["after"]) for one in shown["pairs"]] == [(inline(b"red"), inline(b"blue"))]


def test_what_a_page_shows_does_not_come_again(writer, reader, run_id):
    effects = LabelEffects(reader)
    nothing = effects.answer(None, {"seen": None})
    assert effects.answer(None, {"seen": nothing["seen"]}) is None
    label_step(writer, run_id, 0, "ann")
    first = effects.answer(None, {"seen": nothing["seen"]})
    writer.record(run_id, step_done(1))
    writer.flush()
    assert effects.answer(None, {"seen": first["seen"]}) is None
    label_step(writer, run_id, 2, "ann")
    second = effects.answer(None, {"seen": first["seen"]})
    assert second["at"] == [run_id, 2]
    walked = effects.answer(None, {"run": run_id, "step": 0, "seen": second["seen"]})
    assert walked["at"] == [run_id, 0]
    assert effects.answer(None, {"run": run_id, "step": 0, "seen": walked["seen"]}) is None


def test_what_was_said_of_a_group_asked_again_is_no_label_of_the_step(writer, reader, run_id):
    label_step(writer, run_id, 0, "ann")
    label_step(writer, run_id, 1, "ann", "ann", num_repeats=1)
    label_step(writer, run_id, 2, "ann", num_repeats=1)
    assert reader.raters(run_id)[0].num_repeats == 2, "in step 2 only the repeat was judged"
    shown = LabelEffects(reader).answer(None, None)
    assert (shown["at"], shown["older"], shown["steps"]) == ([run_id, 1], (run_id, 0), 2)
    assert shown["summary"] == "1 label by ann on 1 of 1 group"
    assert [group["said"] for group in shown["groups"]] == [["ann: 3 > 1 = 2"]]


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("ranking", {"tiers": [[2], [0, 1]]}, "3 > 1 = 2"),
        ("picks", {"best": [0, 2]}, "best 1, 3"),
        ("likes", {"liked": [1], "disliked": [0]}, "liked 2; disliked 1"),
        ("likes", {"liked": [], "disliked": [0]}, "disliked 1"),
        ("stars", {"stars": [5, None, 1]}, "stars 1: 5, 3: 1"),
        ("pairs", {"verdicts": [{}]}, "1 pair judged"),
    ],
)
def test_a_label_in_words(kind, body, words):
    row = LabelRow(
        id=1,
        task_id=1,
        step=0,
        group_index=0,
        rater="ann",
        created="",
        kind=kind,
        body=body,
        seconds=1.0,
        size=3,
        prompt="",
    )
    assert in_words(row) == words


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (0, ""),
        (0.75, "; people's word counted 75%, the automatic reward 25%"),
        (1, "; people's word counted alone"),
    ],
)
def test_how_much_people_counted_is_said(weight, words):
    assert share_in_words(weight) == words
