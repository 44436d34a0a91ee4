"""Labels in the store: who gets which group, nothing said is lost or doubled, and every change is a new row."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from recorded_runs import CONFIG
from sqlite_utils.utils import sqlite3

from app.store import labelling
from app.store.database import open_for_reading
from app.store.rows import Said
from dgpo_core.errors import LabelError
from dgpo_core.events import EndReason, GroupsClosed, GroupsPosted, PostedGroup, RunEnded


def post(writer, run_id, step, *names, size=3):
    groups = [
        PostedGroup(index, name, tuple(f"{name} {member}".encode() for member in range(size)))
        for index, name in enumerate(names)
    ]
    writer.record(run_id, GroupsPosted(step=step, groups=tuple(groups)))
    writer.flush()


def close(writer, run_id, **counts):
    writer.record(run_id, GroupsClosed(step=0, **counts, rest="the rest was left out"))
    writer.flush()


def noted(reader, run_id):
    return [row.message for row in reader.diary(run_id)]


def say(writer, task_id, rater="ann", order=(0, 1, 2), request=None, **changes):
    body = {"tiers": [[member] for member in order]}
    said = {"task_id": task_id, "rater": rater, "kind": "ranking", "body": body, "seconds": 2.0}
    request = request or f"{rater} {task_id} {order}"
    return writer.put_label(Said(**said | {"request": request} | changes))


def said(reader, run_id, step):
    return [(row.group_index, row.rater, row.kind, row.body) for row in reader.labels_of_step(run_id, step)]


def test_a_posted_group_is_leased_with_its_pictures(writer, reader, run_id):
    post(writer, run_id, 3, "a cat", "a dog")
    task = reader.label_task(writer.lease_next("ann"))
    assert (task.run_id, task.step, task.group_index, task.prompt) == (run_id, 3, 0, "a cat")
    assert [reader.picture(sha) for sha in task.shas] == [b"a cat 0", b"a cat 1", b"a cat 2"]
    assert reader.label_task(99) is None


def test_two_people_get_different_groups_and_each_keeps_theirs(writer, run_id):
    post(writer, run_id, 0, "a cat", "a dog")
    first, second = writer.lease_next("ann"), writer.lease_next("bob")
    assert first != second
    assert writer.lease_next("ann") == first
    assert writer.lease_next("eve") is None


def test_a_lease_that_ran_out_frees_the_group(writer, run_id, monkeypatch):
    post(writer, run_id, 0, "a cat")
    monkeypatch.setattr(labelling.lease_next, "__kwdefaults__", {"seconds": -1.0})
    first = writer.lease_next("ann")
    assert writer.lease_next("bob") == first


def test_a_label_is_there_when_the_call_returns_and_its_group_does_not_come_back(writer, reader, run_id):
    post(writer, run_id, 0, "a cat")
    task_id = writer.lease_next("ann")
    say(writer, task_id, order=(2, 0))
    assert said(reader, run_id, 0) == [(0, "ann", "ranking", {"tiers": [[2], [0]]})]
    assert writer.lease_next("ann") is None
    assert writer.lease_next("bob") == task_id


def test_groups_without_a_label_come_before_those_with_one(writer, run_id):
    post(writer, run_id, 0, "a cat", "a dog")
    first = writer.lease_next("ann")
    say(writer, first)
    assert writer.lease_next("bob") != first


def test_the_same_request_twice_is_one_label(writer, reader, run_id, path):
    post(writer, run_id, 0, "a cat")
    task_id = writer.lease_next("ann")
    first = say(writer, task_id, request="click one")
    assert say(writer, task_id, request="click one", order=(1, 0, 2)) == first
    assert said(reader, run_id, 0)[0][3] == {"tiers": [[0], [1], [2]]}
    with open_for_reading(path) as db:
        assert db["labels"].count == 1


def test_what_is_said_anew_replaces_and_keeps_what_was_said(writer, reader, run_id, path):
    post(writer, run_id, 0, "a cat")
    task_id = writer.lease_next("ann")
    first = say(writer, task_id, order=(0, 1, 2))
    second = say(writer, task_id, order=(2, 1, 0))
    say(writer, task_id, "bob")
    assert [one[3]["tiers"][0] for one in said(reader, run_id, 0)] == [[2], [0]]
    with open_for_reading(path) as db:
        chain = {row["id"]: row["replaces"] for row in db["labels"].rows}
    assert chain[second] == first
    assert list(chain.values()).count(None) == 2


def test_a_skip_says_nothing_and_the_group_comes_back_last(writer, reader, run_id):
    post(writer, run_id, 0, "a cat", "a dog")
    first = writer.lease_next("ann")
    say(writer, first, kind="skip", body={}, request="skip one")
    assert said(reader, run_id, 0) == []
    other = writer.lease_next("ann")
    assert other != first
    say(writer, other)
    assert writer.lease_next("ann") == first


def test_undo_takes_the_newest_label_back_once_and_older_ones_after_it(writer, reader, run_id):
    post(writer, run_id, 0, "a cat", "a dog")
    order = []
    for _ in range(2):
        order.append(writer.lease_next("ann"))
        say(writer, order[-1])
    assert writer.take_back("ann", "undo one") == order[1]
    assert writer.take_back("ann", "undo one") == order[1]
    assert len(said(reader, run_id, 0)) == 1
    assert writer.take_back("ann", "undo two") == order[0]
    assert writer.take_back("ann", "undo three") is None
    assert said(reader, run_id, 0) == []


def test_undo_of_an_edit_brings_back_what_was_said_before_it(writer, reader, run_id):
    post(writer, run_id, 0, "a cat")
    task_id = writer.lease_next("ann")
    for order in ((0, 1, 2), (1, 0, 2), (2, 1, 0)):
        say(writer, task_id, order=order)
    seen = []
    for number in range(4):
        taken = writer.take_back("ann", f"undo {number}")
        row = reader.label_of(task_id, "ann")
        seen.append((taken, row and row.body["tiers"][0]))
    assert seen == [(task_id, [1]), (task_id, [0]), (task_id, None), (None, None)]


def test_what_is_said_after_an_undo_can_be_undone_too(writer, reader, run_id):
    post(writer, run_id, 0, "a cat")
    task_id = writer.lease_next("ann")
    say(writer, task_id, order=(0, 1, 2))
    say(writer, task_id, order=(1, 0, 2))
    writer.take_back("ann", "undo the edit")
    say(writer, task_id, order=(2, 1, 0))
    writer.take_back("ann", "undo the new edit")
    assert reader.label_of(task_id, "ann").body["tiers"][0] == [0]


def test_undo_of_a_skip_gives_the_group_back(writer, run_id):
    post(writer, run_id, 0, "a cat", "a dog")
    first = writer.lease_next("ann")
    say(writer, first, kind="skip", body={}, request="skip it")
    assert writer.lease_next("ann") != first
    assert writer.take_back("ann", "undo the skip") == first


def test_a_group_taken_back_is_in_hand_again(writer, run_id):
    post(writer, run_id, 0, "a cat")
    task_id = writer.lease_next("ann")
    say(writer, task_id)
    writer.take_back("ann", "undo it")
    assert writer.lease_next("bob") is None
    assert writer.lease_next("ann") == task_id


def rows_of(path):
    with open_for_reading(path) as db:
        return list(db.query("SELECT * FROM labels ORDER BY id"))


def test_an_edit_a_skip_and_an_undo_add_one_row_each_and_leave_the_older_ones_as_they_were(writer, run_id, path):
    post(writer, run_id, 0, "a cat")
    task_id = writer.lease_next("ann")
    deeds = [
        lambda: say(writer, task_id, order=(0, 1, 2)),
        lambda: say(writer, task_id, order=(2, 1, 0)),
        lambda: writer.take_back("ann", "undo the edit"),
        lambda: say(writer, task_id, kind="skip", body={}, request="skip"),
        lambda: writer.take_back("ann", "undo the skip"),
        lambda: writer.take_back("ann", "undo the first"),
    ]
    before = []
    for deed in deeds:
        deed()
        after = rows_of(path)
        assert after[:-1] == before
        before = after
    assert len(before) == len(deeds)
    assert [row["replaces"] for row in before] == [None, 1, 2, 3, 4, 5]
    assert [row["undoes"] for row in before] == [None, None, 2, None, 4, 1]


def test_no_program_can_change_what_was_said_and_it_goes_with_its_run(writer, run_id, path):
    post(writer, run_id, 0, "a cat")
    task_id = writer.lease_next("ann")
    for order in ((0, 1, 2), (2, 1, 0)):
        say(writer, task_id, order=order)
    writer.take_back("ann", "undo the edit")
    before = rows_of(path)
    with (
        closing(sqlite3.connect(path)) as other_program,
        pytest.raises(sqlite3.IntegrityError, match="a label is never changed"),
    ):
        other_program.execute("UPDATE labels SET body = '{}' WHERE id = 1")
    assert rows_of(path) == before
    assert len(before) == 3
    writer.record(run_id, RunEnded(step=0, reason=EndReason.STOPPED))
    writer.flush()
    writer.delete_run(run_id)
    assert rows_of(path) == []


def test_an_edit_leaves_the_group_in_hand_where_it_is(writer, run_id):
    post(writer, run_id, 0, "a cat", "a dog")
    first = writer.lease_next("ann")
    say(writer, first)
    second = writer.lease_next("ann")
    say(writer, first, order=(2, 1, 0))
    assert writer.lease_next("bob") == first
    assert writer.lease_next("ann") == second


def test_the_way_back_leads_through_own_labels_in_the_order_they_were_first_given(writer, reader, run_id):
    post(writer, run_id, 0, "a cat", "a dog", "a cow", "a hen")
    first, second, third = [(task_id := writer.lease_next("ann"), say(writer, task_id))[0] for _ in range(3)]
    say(writer, first, order=(2, 1, 0))
    in_hand = writer.lease_next("ann")
    back = [in_hand, *(None,) * 4]
    for number in range(4):
        back[number + 1] = reader.labelled_beside("ann", back[number], is_later=False)
        if back[number + 1] is None:
            break
    assert back == [in_hand, third, second, first, None]
    assert reader.labelled_beside("ann", first, is_later=True) == second
    assert reader.labelled_beside("ann", third, is_later=True) is None
    assert reader.labelled_beside("bob", in_hand, is_later=False) is None


def test_groups_of_a_live_run_come_before_those_of_one_that_ended(writer, run_id):
    post(writer, run_id, 0, "a cat")
    writer.record(run_id, RunEnded(step=0, reason=EndReason.STOPPED))
    live = writer.create_run(CONFIG, num_steps=10)
    post(writer, live, 0, "a dog")
    first, second = writer.lease_next("ann"), None
    say(writer, first)
    second = writer.lease_next("ann")
    assert first > second


def test_a_group_that_lost_a_picture_is_not_given_and_takes_no_label(writer, reader, run_id, path):
    post(writer, run_id, 0, "a cat", "a dog")
    first = writer.lease_next("ann")
    lost = reader.label_task(first).shas[1]
    assert reader.lost_of_step(run_id, 0) == {}
    with closing(sqlite3.connect(path)) as other_program:
        other_program.execute("DELETE FROM pictures WHERE sha = ?", [lost])
        other_program.commit()
    assert reader.lost_of_step(run_id, 0) == {0: [False, True, False]}
    with pytest.raises(LabelError, match=rf"Picture 2 of group {first} is gone from the store.*Go on with the next\."):
        say(writer, first)
    assert reader.label_task(writer.lease_next("ann")).prompt == "a dog"


def test_a_closed_group_takes_no_labels_and_says_so(writer, reader, run_id):
    post(writer, run_id, 0, "a cat", "a dog")
    task_id = writer.lease_next("ann")
    close(writer, run_id, num_groups=2, num_asked=2, num_labelled=0)
    with pytest.raises(LabelError, match=r"is closed: training went on without it\. Go on with the next\."):
        say(writer, task_id)
    assert writer.lease_next("ann") is None
    assert writer.take_back("ann", "undo one") is None
    assert noted(reader, run_id) == ["Of 2 groups people were asked about 2 and labelled none; the rest was left out."]


@pytest.mark.parametrize(
    ("num_groups", "num_asked", "num_labelled", "words"),
    [
        (2, 1, 1, ["Of 2 groups people were asked about 1 and labelled 1; the rest was left out."]),
        (8, 2, 1, ["Of 8 groups people were asked about 2 and labelled 1; the rest was left out."]),
        (1, 1, 0, ["Of 1 group people were asked about 1 and labelled none; the rest was left out."]),
        (2, 2, 2, []),
    ],
)
def test_the_diary_says_what_became_of_all_groups_that_nobody_labelled_or_was_asked_about(
    writer, reader, run_id, num_groups, num_asked, num_labelled, words
):
    post(writer, run_id, 0, *[f"group {number}" for number in range(num_asked)])
    for _ in range(num_labelled):
        say(writer, writer.lease_next("ann"))
    close(writer, run_id, num_groups=num_groups, num_asked=num_asked, num_labelled=num_labelled)
    assert noted(reader, run_id) == words


def test_a_group_that_is_gone_says_so(writer, run_id):
    with pytest.raises(LabelError, match="Group 7 is gone"):
        say(writer, 7)


def test_a_label_that_is_nonsense_is_refused_and_the_group_stays(writer, run_id):
    post(writer, run_id, 0, "a cat")
    task_id = writer.lease_next("ann")
    with pytest.raises(LabelError, match="names each picture once"):
        say(writer, task_id, order=(0, 0))
    assert writer.lease_next("ann") == task_id


@pytest.mark.parametrize("rater", ["", "  ", "a\nb", "x" * 61])
def test_a_name_that_is_none_is_refused(writer, rater):
    with pytest.raises(LabelError, match="Your name must be 1 to 60"):
        writer.lease_next(rater)


def test_a_step_posted_again_with_the_same_pictures_keeps_its_labels(writer, reader, run_id):
    post(writer, run_id, 0, "a cat")
    say(writer, writer.lease_next("ann"))
    close(writer, run_id, num_groups=1, num_asked=1, num_labelled=1)
    post(writer, run_id, 0, "a cat")
    assert len(said(reader, run_id, 0)) == 1
    assert writer.lease_next("bob") is not None


def test_a_step_posted_again_with_other_pictures_begins_anew_and_the_old_labels_stay(writer, reader, run_id, path):
    post(writer, run_id, 0, "a cat")
    old = writer.lease_next("ann")
    say(writer, old)
    post(writer, run_id, 0, "a cat", size=4)
    new = writer.lease_next("ann")
    assert new != old
    assert len(reader.label_task(new).shas) == 4
    with pytest.raises(LabelError, match="is closed"):
        say(writer, old, order=(1, 0, 2))
    with open_for_reading(path) as db:
        assert db["labels"].count == 1


def test_labels_of_pictures_that_were_replaced_do_not_count(writer, reader, run_id):
    post(writer, run_id, 0, "a cat")
    say(writer, writer.lease_next("ann"))
    post(writer, run_id, 0, "a cat", size=4)
    assert said(reader, run_id, 0) == []


def test_progress_counts_open_groups_and_own_labels(writer, reader, run_id):
    post(writer, run_id, 0, "a cat", "a dog", "a cow")
    say(writer, writer.lease_next("ann"), seconds=2.0)
    say(writer, writer.lease_next("ann"), seconds=4.0)
    progress = reader.label_progress("ann")
    assert (progress.num_open, progress.num_labelled, progress.num_mine, progress.seconds_per_label) == (3, 2, 2, 3.0)
    assert reader.label_progress("bob").num_mine == 0


def test_many_people_at_once_lose_and_double_nothing(writer, reader, run_id, path):
    post(writer, run_id, 0, *[f"group {number}" for number in range(40)])

    def label_all(rater):
        count = 0
        while (task_id := writer.lease_next(rater)) is not None:
            for _ in range(2):
                say(writer, task_id, rater)
            count += 1
        return count

    with ThreadPoolExecutor(8) as people:
        counts = list(people.map(label_all, [f"rater {number}" for number in range(8)]))
    rows = said(reader, run_id, 0)
    assert len(rows) == sum(counts)
    assert len({(index, rater) for index, rater, _, _ in rows}) == len(rows)
    assert {index for index, _, _, _ in rows} == set(range(40))
