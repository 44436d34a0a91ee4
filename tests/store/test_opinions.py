"""Groups asked again, versions of a preference, and agreements, as rows."""

from contextlib import closing
from functools import partial

import pytest
from recorded_runs import step_done
from sqlite_utils.utils import sqlite3

from app.store.rows import Agreement, AgreementRow, PreferenceRow, RaterRow, Said
from dgpo_core.events import GroupsClosed, GroupsPosted, PostedGroup, PreferenceLearned

SIZE = 4


def post(writer, run_id, step, *names, num_repeats=0):
    groups = tuple(
        PostedGroup(index, name, tuple(f"{name} {member}".encode() for member in range(SIZE)))
        for index, name in enumerate(names)
    )
    writer.record(run_id, GroupsPosted(step=step, groups=groups, num_repeats=num_repeats))
    writer.flush()


def close(writer, run_id, step):
    writer.record(run_id, GroupsClosed(step=step, num_groups=1, num_asked=1, num_labelled=1, rest=""))
    writer.flush()


def say(writer, task_id, rater="ann", order=(0, 1, 2, 3), seconds=2.0):
    body = {"tiers": [[member] for member in order]}
    request = f"{rater} {task_id} {order}"
    said = Said(task_id=task_id, rater=rater, kind="ranking", body=body, seconds=seconds, request=request)
    return writer.put_label(said)


@pytest.fixture
def judged(writer, run_id):
    """A step whose one group ann judged."""
    post(writer, run_id, 0, "a cat")
    task_id = writer.lease_next("ann")
    say(writer, task_id)
    close(writer, run_id, 0)
    return task_id


def test_a_group_is_asked_again_of_who_judged_it_first_and_looks_like_any_other(writer, reader, run_id, judged):
    post(writer, run_id, 1, "a dog", num_repeats=1)
    again = reader.label_task(writer.lease_next("ann"))
    assert (again.step, again.prompt) == (1, "a cat")
    assert again.shas != reader.label_task(judged).shas
    assert sorted(again.shas) == sorted(reader.label_task(judged).shas)
    say(writer, again.id)
    assert reader.label_task(writer.lease_next("ann")).prompt == "a dog"


def test_nobody_else_is_asked_again(writer, reader, run_id, judged):
    post(writer, run_id, 1, "a dog", num_repeats=1)
    assert reader.label_task(writer.lease_next("bob")).prompt == "a dog"
    assert (reader.label_progress("bob").num_open, reader.label_progress("ann").num_open) == (1, 2)


def test_what_is_said_again_is_no_label_of_the_step_and_tells_where_its_pictures_lay(writer, reader, run_id, judged):
    post(writer, run_id, 1, "a dog", num_repeats=1)
    say(writer, writer.lease_next("ann"))
    assert reader.labels_of_step(run_id, 1) == []
    first, again = reader.labels_of_run(run_id)
    assert (first.repeat_of, first.places) == (None, None)
    assert again.repeat_of == judged
    first_shas, again_shas = reader.label_task(judged).shas, reader.label_task(again.task_id).shas
    assert [first_shas[place] for place in again.places] == list(again_shas)


def test_no_group_is_repeated_twice_nor_one_nobody_judged_and_a_step_posted_again_has_the_same(
    writer, reader, run_id, judged
):
    for _ in range(2):
        post(writer, run_id, 1, "a dog", num_repeats=1)
        assert reader.label_progress("ann").num_open == 2
    close(writer, run_id, 1)
    post(writer, run_id, 2, "a cow", num_repeats=3)
    assert reader.label_progress("ann").num_open == 1


def test_who_skipped_a_group_or_took_their_label_back_is_not_asked_it_again(writer, reader, run_id):
    post(writer, run_id, 0, "a cat", "a bird")
    by_prompt = {task.prompt: task.id for task in reader.label_tasks(run_id)}
    for task_id in by_prompt.values():
        say(writer, task_id, "ann")
    said = Said(task_id=by_prompt["a cat"], rater="bob", kind="skip", body={}, seconds=1.0, request="bob skips")
    writer.put_label(said)
    say(writer, by_prompt["a bird"], "eve")
    writer.take_back("eve", "eve goes back")
    close(writer, run_id, 0)
    post(writer, run_id, 1, "a dog", num_repeats=2)
    assert {rater: reader.label_progress(rater).num_open for rater in ("ann", "bob", "eve")} == {
        "ann": 3,
        "bob": 1,
        "eve": 1,
    }


def test_the_pictures_got_ready_are_those_that_come_next_repeats_only_to_whom_they_are_asked(
    writer, reader, run_id, judged
):
    post(writer, run_id, 1, "a dog", "a cow", num_repeats=1)
    for rater, prompts in (("ann", ["a cat", "a dog", "a cow"]), ("bob", ["a dog", "a cow"])):
        task_id = writer.lease_next(rater)
        for prompt in prompts[1:]:
            after = reader.label_after(rater, task_id)
            assert reader.label_task(after).prompt == prompt
            say(writer, task_id, rater)
            task_id = writer.lease_next(rater)
            assert task_id == after
        say(writer, task_id, rater)
        assert reader.label_after(rater, task_id) is None


def test_a_group_that_lost_a_picture_is_not_asked_again_and_the_step_still_opens(writer, reader, run_id, judged, path):
    with closing(sqlite3.connect(path)) as other_program:
        other_program.execute("DELETE FROM pictures WHERE sha = ?", [reader.label_task(judged).shas[1]])
        other_program.commit()
    post(writer, run_id, 1, "a dog", num_repeats=1)
    assert reader.label_progress("ann").num_open == 1
    assert reader.label_task(writer.lease_next("ann")).prompt == "a dog"


def test_a_group_asked_again_is_none_of_the_groups_of_the_run(writer, reader, run_id):
    """It has the step it is asked in and the number of the one it repeats, which another group may have or none."""
    post(writer, run_id, 0, "a cat", "a bird")
    for task in reader.label_tasks(run_id):
        say(writer, task.id)
    close(writer, run_id, 0)
    post(writer, run_id, 1, "a dog", num_repeats=2)
    assert reader.label_progress("ann").num_open == 3
    shown = [(task.step, task.group_index, task.prompt) for task in reader.label_tasks(run_id)]
    assert shown == [(0, 0, "a cat"), (0, 1, "a bird"), (1, 0, "a dog")]


def test_what_is_said_again_makes_no_step_one_that_learned_from_labels(writer, reader, run_id, judged):
    post(writer, run_id, 1, "a dog", num_repeats=1)
    say(writer, writer.lease_next("ann"))
    close(writer, run_id, 1)
    for step in range(2):
        writer.record(run_id, step_done(step))
    writer.flush()
    assert reader.labelled_steps() == [(run_id, 0)]


def test_the_way_back_passes_over_a_group_while_it_is_asked_again(writer, reader, run_id):
    post(writer, run_id, 0, "a cat", "a bird", "a fish")
    first, other, third = (task.id for task in reader.label_tasks(run_id))
    for task_id in (other, first, third):
        say(writer, task_id)
    close(writer, run_id, 0)
    beside = partial(reader.labelled_beside, "ann")
    assert beside(first, is_later=False) == other
    post(writer, run_id, 1, "a dog", num_repeats=1)
    repeat = reader.label_task(writer.lease_next("ann"))
    assert repeat.prompt == "a cat"
    assert [beside(None, is_later=False), beside(third, is_later=False)] == [third, other]
    say(writer, repeat.id)
    assert beside(other, is_later=True) == third, "the original, between them, is still not shown"
    assert beside(first, is_later=True) == third, "whoever has it before them already finds the way on"
    close(writer, run_id, 1)
    assert beside(other, is_later=True) == first


def test_what_was_said_again_can_be_looked_at_edited_and_taken_back_as_its_pictures_lay_then(
    writer, reader, run_id, judged
):
    post(writer, run_id, 1, "a dog", num_repeats=1)
    again = writer.lease_next("ann")
    say(writer, again, order=(3, 0, 2, 1))
    assert reader.labelled_beside("ann", None, is_later=False) == again
    assert reader.label_of(again, "ann").body == {"tiers": [[3], [0], [2], [1]]}
    assert reader.label_of(judged, "ann").body == {"tiers": [[0], [1], [2], [3]]}
    say(writer, again, order=(0, 1, 2, 3))
    assert writer.take_back("ann", "back once") == again
    assert reader.label_of(again, "ann").body == {"tiers": [[3], [0], [2], [1]]}
    assert writer.take_back("ann", "back twice") == again
    assert [row.task_id for row in reader.labels_of_run(run_id)] == [judged]
    say(writer, writer.lease_next("ann"))
    assert writer.lease_next("ann") == again


def test_a_label_that_came_back_by_undoing_takes_no_time(writer, reader, run_id):
    post(writer, run_id, 0, "a cat", "a dog")
    first, second = (task.id for task in reader.label_tasks(run_id))
    say(writer, first, seconds=4.0)
    say(writer, first, order=(3, 2, 1, 0), seconds=4.0)
    writer.take_back("ann", "back")
    [alone] = reader.raters(run_id)
    assert (alone.num_labels, alone.seconds_per_label) == (1, None)
    say(writer, second, seconds=6.0)
    [both] = reader.raters(run_id)
    assert (both.num_labels, both.seconds_per_label) == (2, 6.0)


def learned(version, **changes):
    known = {"step": 3, "folder": f"version-{version}", "num_groups": 8, "num_labels": 9}
    return PreferenceLearned(
        version=version, **known | {"accuracy": 0.75, "calibration_error": 0.1, "bins": ((0.6, 0.5, 10),)} | changes
    )


def test_versions_come_back_in_order_and_one_learned_again_replaces(writer, reader, run_id):
    for event in (learned(1, accuracy=None, calibration_error=None, bins=()), learned(2), learned(2, num_groups=10)):
        writer.record(run_id, event)
    writer.flush()
    first, second = reader.preferences(run_id)
    assert (first.version, first.accuracy, first.bins) == (1, None, ())
    assert second == PreferenceRow(
        version=2,
        created=second.created,
        step=3,
        folder="version-2",
        num_groups=10,
        num_labels=9,
        accuracy=0.75,
        calibration_error=0.1,
        bins=((0.6, 0.5, 10),),
    )
    assert reader.preferences(99) == []


def test_agreements_are_told_by_rater_and_by_prompt_and_only_of_labels_that_stand(writer, reader, run_id):
    post(writer, run_id, 0, "a cat", "a dog")
    ids = {}
    for rater in ("ann", "bob"):
        for _ in range(2):
            task_id = writer.lease_next(rater)
            ids[rater, reader.label_task(task_id).prompt] = say(writer, task_id, rater, seconds=4.0)
    replaced = ids["ann", "a cat"]
    writer.put_agreements([Agreement(replaced, "reward", "brightness", -1.0)])
    ids["ann", "a cat"] = say(writer, reader.labels_of_run(run_id)[0].task_id, order=(3, 2, 1, 0), seconds=4.0)
    writer.put_agreements(
        [
            Agreement(ids["ann", "a cat"], "reward", "brightness", 0.5),
            Agreement(ids["ann", "a dog"], "reward", "brightness", 1.0),
            Agreement(ids["bob", "a dog"], "person", "ann", 0.0),
            Agreement(ids["bob", "a dog"], "person", "ann", 0.25),
        ]
    )
    assert reader.agreements(run_id) == [
        AgreementRow(name="ann", kind="reward", other="brightness", tau=0.75, count=2),
        AgreementRow(name="bob", kind="person", other="ann", tau=0.25, count=1),
    ]
    assert reader.agreements(run_id, by="prompt") == [
        AgreementRow(name="a cat", kind="reward", other="brightness", tau=0.5, count=1),
        AgreementRow(name="a dog", kind="person", other="", tau=0.25, count=1),
        AgreementRow(name="a dog", kind="reward", other="brightness", tau=1.0, count=1),
    ]
    assert reader.raters(run_id) == [
        RaterRow(rater="ann", num_labels=2, num_repeats=0, seconds_per_label=4.0),
        RaterRow(rater="bob", num_labels=2, num_repeats=0, seconds_per_label=4.0),
    ]
