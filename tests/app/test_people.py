"""A whole run whose reward is people, through the store: what they say is what the step learns from."""

from lab_folder import PATIENCE_SECONDS, wait_for

from app.people import people_of
from app.store.rows import RunState, Said
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
