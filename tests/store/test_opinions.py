"""Groups asked again, versions of a preference, and agreements, as rows."""

import pytest

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
    writer.record(run_id, GroupsClosed(step=step, num_groups=1, num_labelled=1, rest=""))
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
