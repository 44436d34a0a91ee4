"""The page's one call: what changed since its token, for the topics it asks for."""

import pytest
from conftest import HOSTILE, start_run, step_done

from app.ui.live import Live, whole_number
from app.ui.train_feed import TrainFeed
from dgpo_core.errors import StoreError
from dgpo_core.events import EndReason, Examined, Preview, RunEnded, Warned


@pytest.fixture
def live(reader):
    live = Live(reader)
    TrainFeed(reader).answer_all(live)
    return live


def test_nothing_travels_while_nothing_was_written(live, writer):
    start_run(writer, 2)
    first = live.poll({"token": None, "topics": {"status": None}})
    assert set(first["topics"]) == {"status"}
    assert live.poll({"token": first["token"], "topics": {"status": None}}) == {"token": first["token"]}
    writer.record(1, step_done(2))
    writer.flush()
    later = live.poll({"token": first["token"], "topics": {"status": None}})
    assert later["topics"]["status"]["run"]["steps_done"] == 3


def test_an_empty_store_shows_no_run(live):
    answer = live.poll({"topics": dict.fromkeys(("status", "wall", "previews", "diary"))})
    assert (answer["run"], answer["live"], answer["topics"]) == (None, None, {"status": {"run": None}})


def test_a_page_shows_the_run_it_chose_else_the_live_one_else_the_newest(live, writer):
    first = start_run(writer, 1)
    writer.record(first, RunEnded(step=0, reason=EndReason.STOPPED))
    second = start_run(writer, 1)
    ask = {"topics": {}}
    assert [live.poll(ask | {"run": run})["run"] for run in (first, None, 99, "1", -1)] == [first, *[second] * 4]
    writer.record(second, RunEnded(step=0, reason=EndReason.STOPPED))
    third = start_run(writer)
    writer.record(third, RunEnded(step=0, reason=EndReason.STOPPED))
    writer.flush()
    answer = live.poll(ask)
    assert (answer["run"], answer["live"]) == (third, None)


def test_an_error_of_the_store_is_told_and_not_raised():
    class BrokenReader:
        def change_token(self):
            raise StoreError("lab.db is damaged. Restore it.")

    assert Live(BrokenReader()).poll({}) == {"error": "lab.db is damaged. Restore it."}


def test_unknown_topics_are_left_out(live, writer):
    start_run(writer)
    assert live.poll({"topics": {"secrets": None}})["topics"] == {}


@pytest.mark.parametrize("value", [None, "3", 1.0, True, -1, 2**53, [1], {}])
def test_what_is_no_whole_number_is_none(value):
    assert whole_number(value) is None


def test_the_wall_sends_a_step_once_and_then_only_the_range(live, writer):
    run = start_run(writer, 3)
    wall = live.poll({"topics": {"wall": {"run": None, "step": None, "shown": None}}})["topics"]["wall"]
    assert (wall["step"], wall["latest"], [len(group["samples"]) for group in wall["groups"]]) == (2, 2, [3])
    seen = {"run": run, "step": None, "shown": 2}
    assert live.poll({"topics": {"wall": seen}})["topics"]["wall"] == {"run": run, "step": 2, "latest": 2}
    older = live.poll({"topics": {"wall": seen | {"step": 0}}})["topics"]["wall"]
    assert (older["step"], older["latest"], len(older["groups"])) == (0, 2, 1)
    beyond = live.poll({"topics": {"wall": seen | {"step": 99, "shown": 1}}})["topics"]["wall"]
    assert beyond["step"] == 2


@pytest.mark.parametrize("cursor", [None, 7, "x", [], {"run": "1"}, {"run": {}, "step": [], "shown": -1}])
def test_a_senseless_cursor_is_answered_like_a_new_page(cursor, live, writer):
    start_run(writer, 2)
    topics = dict.fromkeys(("status", "wall", "previews", "diary"), cursor)
    answer = live.poll({"topics": topics})["topics"]
    assert len(answer["wall"]["groups"]) == 1
    assert answer["diary"]["lines"][0]["kind"] == "started"
    assert answer["previews"]["samples"] == []


def test_the_diary_sends_each_line_once_and_begins_anew_with_another_run(live, writer):
    run = start_run(writer)
    first = live.poll({"topics": {"diary": None}})["topics"]["diary"]
    seen = {"run": run, "last": first["last"]}
    assert "diary" not in live.poll({"topics": {"diary": seen}})["topics"]
    writer.record(run, Warned(step=0, message=HOSTILE))
    writer.flush()
    (line,) = live.poll({"topics": {"diary": seen}})["topics"]["diary"]["lines"]
    assert (line["step"], line["message"]) == (0, HOSTILE)
    again = live.poll({"topics": {"diary": {"run": run + 1, "last": 999}}})["topics"]["diary"]
    assert [line["message"] for line in again["lines"]][-1] == HOSTILE


def test_previews_travel_once_and_can_be_asked_for_while_the_model_is_loaded(live, writer):
    run = start_run(writer, 1)
    first = live.poll({"topics": {"previews": None}})["topics"]["previews"]
    assert (first["can_sample"], first["samples"]) == (True, [])
    sample = step_done(0).groups[0].samples[0]
    drawn = Examined(prompt=HOSTILE, category="", seed=5, score=None, details="", png=sample.png)
    writer.record(run, Preview(step=0, samples=(drawn,)))
    writer.flush()
    second = live.poll({"topics": {"previews": first["newest"]}})["topics"]["previews"]
    assert [(one["prompt"], one["seed"], one["score"]) for one in second["samples"]] == [(HOSTILE, "5", None)]
    assert "samples" not in live.poll({"topics": {"previews": second["newest"]}})["topics"]["previews"]
    writer.record(run, RunEnded(step=0, reason=EndReason.STOPPED))
    writer.flush()
    assert live.poll({"topics": {"previews": second["newest"]}})["topics"]["previews"]["can_sample"] is False


def test_trouble_of_the_lab_is_said_instead_of_news(lab):
    live = Live(lab.reader, lab.actions.trouble)
    assert "token" in live.poll({"token": None, "run": None, "topics": {}})
    lab.actions.troubled = "The disk is full."
    assert live.poll({"token": None, "run": None, "topics": {}}) == {"error": "The disk is full."}
