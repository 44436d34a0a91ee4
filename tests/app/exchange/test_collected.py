"""A run's groups as they go out of the lab: what people said of them, and nothing of groups asked again."""

import pytest

from app.exchange.collected import groups_of
from app.exchange.export import preferred_pairs
from app.store.rows import Said
from dgpo_core.config import RunConfig, to_dict
from dgpo_core.events import GroupsClosed, GroupsPosted, PostedGroup

SIZE = 4
ORDER = (0, 1, 2, 3)
REVERSED = (3, 2, 1, 0)


@pytest.fixture
def run_id(writer):
    return writer.create_run(to_dict(RunConfig()), 10)


def post(writer, run_id, step, num_groups, *, num_repeats=0):
    groups = tuple(
        PostedGroup(index, f"prompt {step} {index}", tuple(f"{step} {index} {one}".encode() for one in range(SIZE)))
        for index in range(num_groups)
    )
    writer.record(run_id, GroupsPosted(step=step, groups=groups, num_repeats=num_repeats))
    writer.flush()


def close(writer, run_id, step):
    writer.record(run_id, GroupsClosed(step=step, num_groups=1, num_asked=1, num_labelled=1, rest=""))


def say(writer, task_id, rater, order):
    body = {"tiers": [[member] for member in order]}
    request = f"{rater} {task_id} {order}"
    writer.put_label(Said(task_id=task_id, rater=rater, kind="ranking", body=body, seconds=1.0, request=request))


def test_a_group_asked_again_goes_out_once_with_what_was_said_first(writer, reader, run_id):
    post(writer, run_id, 0, 1)
    say(writer, writer.lease_next("ann"), "ann", ORDER)
    close(writer, run_id, 0)
    post(writer, run_id, 1, 1, num_repeats=1)
    again, own = reader.label_task(writer.lease_next("ann")), reader.label_tasks(run_id)[1]
    assert again.prompt == "prompt 0 0"
    say(writer, again.id, "ann", REVERSED)
    say(writer, own.id, "ann", ORDER)
    groups = list(groups_of(reader, run_id))
    assert [(group.step, group.index, group.prompt) for group in groups] == [
        (0, 0, "prompt 0 0"),
        (1, 0, "prompt 1 0"),
    ]
    for group in groups:
        assert [reader.picture(one.sha) for one in group.samples] == [
            f"{group.step} 0 {one}".encode() for one in range(SIZE)
        ]
        assert [label.body for label in group.labels] == [{"tiers": [[0], [1], [2], [3]]}]
        assert all(better < worse for better, worse in preferred_pairs(group))


def test_a_step_in_which_only_a_repeat_was_judged_gives_no_labels(writer, reader, run_id):
    post(writer, run_id, 0, 1)
    say(writer, writer.lease_next("ann"), "ann", ORDER)
    close(writer, run_id, 0)
    post(writer, run_id, 1, 1, num_repeats=1)
    say(writer, writer.lease_next("ann"), "ann", REVERSED)
    assert [(group.step, len(group.labels)) for group in groups_of(reader, run_id)] == [(0, 1), (1, 0)]


def test_a_group_that_only_somebody_not_believed_judged_has_no_preference(writer, reader, run_id):
    post(writer, run_id, 0, 7)
    *common, last = reader.label_tasks(run_id)
    for task in common:
        for rater, order in {"ann": ORDER, "bob": ORDER, "eve": REVERSED}.items():
            say(writer, task.id, rater, order)
    say(writer, last.id, "eve", REVERSED)
    group = list(groups_of(reader, run_id))[-1]
    assert (len(group.labels), group.said, group.preference) == (1, None, [None] * SIZE)


def test_several_people_count_as_far_as_they_may_be_believed(writer, reader, run_id):
    post(writer, run_id, 0, 6)
    for task in reader.label_tasks(run_id):
        orders = {"ann": ORDER, "bob": ORDER, "eve": REVERSED}
        for rater, order in orders.items():
            say(writer, task.id, rater, order)
    for group in groups_of(reader, run_id):
        assert len(group.labels) == 3
        assert group.preference == pytest.approx([1.3416, 0.4472, -0.4472, -1.3416], abs=1e-3), "eve is left out"
        assert [one.reward for one in group.samples] == group.preference
