"""What the Label page asks for, and what it is answered; nothing from a browser is believed."""

import pytest

from app.ui.label_requests import labelling
from dgpo_core.config import RunConfig, to_dict
from dgpo_core.events import GroupsClosed, GroupsPosted, PostedGroup


@pytest.fixture
def ask(lab, writer):
    run_id = writer.create_run(to_dict(RunConfig()), 10)
    groups = tuple(PostedGroup(index, f"group {index}", (b"one", b"two", b"three")) for index in range(2))
    writer.record(run_id, GroupsPosted(step=4, groups=groups))
    writer.flush()
    label = labelling(lab)
    return lambda **wish: label({"rater": "ann"} | wish)


def put(ask, group_id, **changes):
    wish = {"kind": "ranking", "body": {"tiers": [[0], [1]]}, "seconds": 2.0, "request": f"request {group_id}"}
    return ask(**{"action": "put", "group": group_id} | wish | changes)


def test_the_next_group_comes_with_its_pictures_and_the_progress(ask):
    answer = ask(action="next")
    assert answer["group"]["prompt"] == "group 0"
    assert answer["group"]["title"] == "my run, step 4"
    assert len(answer["group"]["pictures"]) == 3
    assert all(url.startswith("data:image/png;base64,") for url in answer["group"]["pictures"])
    assert answer["progress"] == {"open": 2, "labelled": 0, "mine": 0, "seconds": None}


def test_a_label_is_answered_with_the_next_group_and_after_the_last_with_none(ask):
    first = ask(action="next")["group"]["id"]
    second = put(ask, first)
    assert second["group"]["prompt"] == "group 1"
    last = put(ask, second["group"]["id"])
    assert last["group"] is None
    assert last["progress"] == {"open": 2, "labelled": 2, "mine": 2, "seconds": 2.0}


def test_the_pictures_of_the_group_after_this_one_are_told_beforehand(ask):
    group = ask(action="next")["group"]
    soon = ask(action="soon", group=group["id"])["pictures"]
    assert put(ask, group["id"])["group"]["pictures"] == soon
    assert ask(action="soon", group=group["id"] + 1) == {"pictures": []}
    assert ask(action="soon", group="x") == {"pictures": []}


def test_undo_gives_the_group_back(ask):
    first = ask(action="next")["group"]["id"]
    put(ask, first)
    assert ask(action="undo", request="undo first")["group"]["id"] == first
    assert "nothing to take back" in ask(action="undo", request="undo second")["error"]


def test_the_way_back_leads_to_own_labels_and_forward_to_what_is_next(ask):
    first = ask(action="next")["group"]["id"]
    second = put(ask, first)["group"]["id"]
    back = ask(action="back", group=second)["group"]
    assert (back["id"], back["said"]) == (first, {"kind": "ranking", "body": {"tiers": [[0], [1]]}})
    assert "takes the place" in back["note"]
    assert "no earlier group" in ask(action="back", group=first)["error"]
    assert ask(action="forward", group=first)["group"]["id"] == second
    assert ask(action="back", group="1")["group"]["id"] == first


def test_nothing_tells_a_group_asked_again_from_one_of_its_step(ask, writer, lab):
    again, other = _asked_again_and_another(ask, writer, lab)
    assert {again["prompt"], other["prompt"]} == {"group 0", "something new"}
    differing = {name for name in again if again[name] != other[name]}
    assert differing == {"id", "prompt", "pictures"}


def _asked_again_and_another(ask, writer, lab):
    """What ann is shown in a step that asks a group of hers again: that group, and the step's own of the same index."""
    put(ask, ask(action="next")["group"]["id"])
    run_id = lab.reader.runs()[0].id
    writer.record(run_id, GroupsClosed(step=4, num_groups=2, num_asked=2, num_labelled=1, rest=""))
    new = PostedGroup(0, "something new", (b"four", b"five", b"six"))
    writer.record(run_id, GroupsPosted(step=5, groups=(new,), num_repeats=1))
    writer.flush()
    again = ask(action="next")["group"]
    return again, put(ask, again["id"])["group"]


def test_a_group_of_a_run_that_is_not_live_says_so(ask, writer):
    assert ask(action="next")["group"]["note"] == ""
    writer.mark_interrupted()
    assert "This run is interrupted" in ask(action="next")["group"]["note"]


def test_a_closed_group_can_be_looked_at_and_says_that_it_cannot_be_changed(ask, writer):
    first = ask(action="next")["group"]["id"]
    put(ask, first)
    writer.record(1, GroupsClosed(step=4, num_groups=2, num_asked=2, num_labelled=1, rest=""))
    writer.flush()
    back = ask(action="back")["group"]
    assert (back["id"], back["is_open"]) == (first, False)
    assert "not changed" in back["note"]
    assert "is closed" in put(ask, first, request="another request")["error"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"group": None}, "without its group"),
        ({"group": "1"}, "without its group"),
        ({"group": 99}, "is gone"),
        ({"body": None}, "without its group"),
        ({"body": {"tiers": [[7]]}}, "numbered 1 to 3"),
        ({"kind": "dance"}, "no label of the kind"),
        ({"request": None}, "without its own mark"),
        ({"request": "x" * 81}, "without its own mark"),
        ({"rater": "\n"}, "Your name must be"),
    ],
)
def test_what_is_no_label_is_answered_in_words(ask, changes, words):
    group = ask(action="next")["group"]["id"]
    assert words in put(ask, group, **changes)["error"]
    assert ask(action="next")["group"]["id"] == group


@pytest.mark.parametrize("seconds", [None, "soon", float("nan"), -5, 1e9, True])
def test_a_time_that_is_none_is_no_reason_to_lose_a_label(ask, seconds):
    group = ask(action="next")["group"]["id"]
    assert "error" not in put(ask, group, seconds=seconds)


@pytest.mark.parametrize("wish", [{}, {"action": "dance"}, {"action": 3}])
def test_an_unknown_wish_is_answered_in_words(ask, wish):
    assert "Reload the page" in ask(**wish)["error"]


def test_no_wish_at_all_is_answered_in_words(lab):
    assert "Reload the page" in labelling(lab)(["next"])["error"]
