"""A whole run whose reward is people, through the store: what they say is what the step learns from."""

from contextlib import closing

from lab_folder import PATIENCE_SECONDS, wait_for
from sqlite_utils.utils import sqlite3

from app.people import Crowd, by_group, people_of, scores_in
from app.store.rows import LabelRow, RunState, Said
from dgpo_core.events import Stop

BRIGHTEST_LAST = {"tiers": [[3], [2], [1], [0]]}


def label_until_it_ends(runner, rater="ann"):
    """Ranks every group that a run posts, until the run ends."""
    while not runner.wait(0.05):
        while (task_id := runner.lease_next(rater)) is not None:
            said = {"kind": "ranking", "body": BRIGHTEST_LAST, "seconds": 1.0, "request": f"{rater} {task_id}"}
            runner.put_label(Said(task_id=task_id, rater=rater, **said))


def test_what_people_say_is_what_a_step_learns_from(lab, config_of):
    runner, reader = lab
    run_id = runner.start(config_of(people={"weight": 1.0, "without_label": "skip"}))
    label_until_it_ends(runner)
    assert reader.run(run_id).state == RunState.FINISHED
    for step in range(2):
        for group in reader.groups(run_id, step):
            assert [sample.member for sample in group.samples] == [3, 2, 1, 0]
            assert [name for name, _ in group.samples[0].terms] == ["people"]
    assert people_of(reader, run_id)(1).keys() == {0, 1}


def test_several_people_count_alike(lab, config_of):
    runner, reader = lab
    run_id = runner.start(config_of(people={"weight": 1.0}, rollout={"groups_per_step": 1, "group_size": 4}))
    wait_for(lambda: reader.label_progress("ann").num_open == 1)
    task_id = runner.lease_next("ann")
    reader_of = people_of(reader, run_id)
    said = {"task_id": task_id, "kind": "ranking", "seconds": 1.0}
    runner.send(run_id, Stop())
    assert runner.wait(PATIENCE_SECONDS)
    runner.put_label(Said(**said, rater="ann", body={"tiers": [[0], [1], [2], [3]]}, request="request a"))
    assert reader_of(0)[0][0] > reader_of(0)[0][3]
    runner.put_label(Said(**said, rater="bob", body={"tiers": [[3], [2], [1], [0]]}, request="request b"))
    assert max(map(abs, reader_of(0)[0])) < 1e-9


def test_a_run_that_waits_for_people_is_shown_to_wait_and_can_be_stopped_and_resumed(lab, config_of):
    runner, reader = lab
    run_id = runner.start(config_of(people={"weight": 1.0, "without_label": "skip"}))
    wait_for(lambda: reader.run(run_id).phase == "waiting for labels")
    task_id = runner.lease_next("ann")
    request = {"kind": "ranking", "body": BRIGHTEST_LAST, "seconds": 1.0, "request": "the first"}
    runner.put_label(Said(task_id=task_id, rater="ann", **request))
    runner.send(run_id, Stop())
    assert runner.wait(PATIENCE_SECONDS)
    assert reader.run(run_id).state == RunState.STOPPED
    runner.resume(run_id)
    wait_for(lambda: reader.run(run_id).phase == "waiting for labels")
    assert reader.label_progress("ann").num_mine == 1
    assert runner.lease_next("ann") != task_id
    runner.send(run_id, Stop())
    assert runner.wait(PATIENCE_SECONDS)


def label_all(runner, rater="ann"):
    while (task_id := runner.lease_next(rater)) is not None:
        said = {"kind": "ranking", "body": BRIGHTEST_LAST, "seconds": 1.0, "request": f"{rater} {task_id}"}
        runner.put_label(Said(task_id=task_id, rater=rater, **said))


def test_a_group_that_loses_a_picture_while_it_waits_is_waited_for_no_longer_and_counts_as_unlabelled(
    lab, config_of, tmp_path
):
    runner, reader = lab
    people = {"weight": 1.0, "wait_seconds": 0.0, "without_label": "skip"}
    run_id = runner.start(config_of(people=people, schedule={"num_steps": 1}))
    wait_for(lambda: reader.label_progress("ann").num_open == 2)
    broken = reader.label_task(runner.lease_next("ann"))
    with closing(sqlite3.connect(tmp_path / "lab.db")) as other_program:
        other_program.execute("DELETE FROM pictures WHERE sha = ?", [broken.shas[1]])
        other_program.commit()
    label_all(runner)
    assert runner.wait(PATIENCE_SECONDS)
    assert reader.run(run_id).state == RunState.FINISHED, reader.run(run_id).message
    left_out, labelled = sorted(reader.groups(run_id, 0), key=lambda group: group.index != broken.group_index)
    assert (left_out.has_preference, labelled.has_preference) == (False, True)
    where = f"of group {broken.group_index + 1} of step 0"
    assert [line.message for line in reader.diary(run_id) if "gone" in line.message or line.kind == "labelled"] == [
        f"Picture 2 is gone from the store, {where}. Nobody can label it any more, so it is not waited for.",
        "Of 2 groups people were asked about 2 and labelled 1; the rest was left out.",
    ]


def test_what_was_said_of_a_group_before_it_lost_a_picture_counts_for_its_step(lab, config_of, tmp_path):
    runner, reader = lab
    run_id = runner.start(config_of(people={"weight": 1.0, "without_label": "skip"}, schedule={"num_steps": 1}))
    wait_for(lambda: reader.label_progress("ann").num_open == 2)
    task = reader.label_task(runner.lease_next("ann"))
    said = {"kind": "ranking", "body": BRIGHTEST_LAST, "seconds": 1.0, "request": "the first"}
    runner.put_label(Said(task_id=task.id, rater="ann", **said))
    with closing(sqlite3.connect(tmp_path / "lab.db")) as other_program:
        other_program.execute("DELETE FROM pictures WHERE sha = ?", [task.shas[1]])
        other_program.commit()
    label_all(runner)
    assert runner.wait(PATIENCE_SECONDS)
    assert all(group.has_preference for group in reader.groups(run_id, 0))
    assert [line for line in reader.diary(run_id) if line.kind == "labelled"] == []


def label_row(number, task_id, rater, order, **changes):
    known = {"id": number, "task_id": task_id, "step": 0, "group_index": task_id, "created": "", "seconds": 1.0}
    body = {"tiers": [[member] for member in order]}
    said = {"rater": rater, "kind": "ranking", "body": body, "size": len(order), "prompt": "a cat"}
    return LabelRow(**known | said | changes)


TRUTH, OPPOSITE = (0, 1, 2, 3), (3, 2, 1, 0)
TASTES = {"ann": TRUTH, "bob": TRUTH, "eve": OPPOSITE}


def heard_crowd():
    """A crowd that heard two agree on ten groups, and a third say the opposite."""
    rows = [
        label_row(10 * task_id + index, task_id, rater, order)
        for task_id in range(1, 11)
        for index, (rater, order) in enumerate(TASTES.items())
    ]
    crowd = Crowd()
    crowd.hear(rows)
    return crowd


def test_who_says_the_opposite_of_the_others_is_left_out_also_where_they_are_alone():
    crowd = heard_crowd()
    together = crowd.merged([label_row(900, 90, "eve", OPPOSITE), label_row(901, 90, "ann", TRUTH)])
    assert together == sorted(together, reverse=True)
    assert crowd.merged([label_row(902, 91, "eve", OPPOSITE)]) == [None] * 4
    assert crowd.merged([label_row(903, 91, "ann", TRUTH)]) == [-0.0, -1.0, -2.0, -3.0]


def test_what_was_said_of_a_shuffled_repeat_is_read_in_the_order_of_the_first():
    again = label_row(1, 2, "ann", (2, 0, 1, 3), repeat_of=1, places=(1, 2, 0, 3))
    assert scores_in(again) == [-0.0, -1.0, -2.0, -3.0]
    assert by_group([label_row(0, 1, "ann", TRUTH), again]).keys() == {1}
