"""The page's one call: what changed since its token, for the topics it asks for."""

import pytest
from conftest import HOSTILE, evaluation, start_run, step_done

from app.ui.live import Live, whole_number
from app.ui.train_feed import DIARY_LINES, TOPICS, TrainFeed
from dgpo_core.errors import StoreError
from dgpo_core.events import EndReason, EvaluationDone, Examined, Preview, RunEnded, RunStarted, Warned


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
    answer = live.poll({"topics": dict.fromkeys(TOPICS)})
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
    topics = dict.fromkeys(TOPICS, cursor)
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
    second = live.poll({"topics": {"previews": first}})["topics"]["previews"]
    assert [(one["prompt"], one["seed"], one["score"]) for one in second["samples"]] == [(HOSTILE, "5", None)]
    assert "samples" not in live.poll({"topics": {"previews": second}})["topics"]["previews"]
    writer.record(run, RunEnded(step=0, reason=EndReason.STOPPED))
    writer.flush()
    assert live.poll({"topics": {"previews": second}})["topics"]["previews"]["can_sample"] is False


def test_a_warning_travels_beside_the_previews_only_when_it_came_after_the_page_last_asked(live, writer):
    def asked(cursor):
        writer.flush()
        return live.poll({"topics": {"previews": cursor}})["topics"]["previews"]

    run = start_run(writer)
    writer.record(run, Warned(step=0, message="before"))
    first = asked(None)
    assert first["warning"] == ""
    writer.record(run, Warned(step=0, message=HOSTILE))
    writer.record(run, RunStarted(first_step=0, num_steps=600, num_trainable=10))
    second = asked(first)
    assert (second["warning"], "samples" in second) == (HOSTILE, False)
    assert asked(second)["warning"] == ""
    assert asked(first | {"run": run + 1})["warning"] == ""


def test_a_long_diary_begins_with_its_newest_lines(live, writer):
    run = start_run(writer)
    for number in range(DIARY_LINES + 5):
        writer.record(run, Warned(step=0, message=f"warning {number}"))
    writer.flush()
    lines = live.poll({"topics": {"diary": None}})["topics"]["diary"]["lines"]
    assert [line["message"] for line in lines] == [f"warning {number}" for number in range(5, DIARY_LINES + 5)]


def test_when_the_last_run_is_deleted_every_panel_is_emptied_once(live, writer):
    run = start_run(writer, 1)
    writer.record(run, evaluation(0))
    writer.record(run, RunEnded(step=0, reason=EndReason.STOPPED))
    writer.flush()
    shown = live.poll({"topics": dict.fromkeys(TOPICS)})["topics"]
    assert {name for name, update in shown.items() if name != "status" and update["run"] == run} == {*TOPICS} - {
        "status"
    }
    writer.delete_run(run)
    emptied = live.poll({"topics": shown})["topics"]
    assert emptied == {
        "status": {"run": None},
        "wall": {"run": None, "step": None, "latest": None, "low": 0, "high": 1, "groups": []},
        "previews": {"run": None, "can_sample": False, "newest": None, "samples": [], "diary": None, "warning": ""},
        "heldout": {
            "run": None,
            "examination": None,
            "step": None,
            "is_first": False,
            "title": "",
            "samples": [],
        },
        "diary": {"run": None, "last": 0, "lines": []},
    }
    assert live.poll({"topics": emptied})["topics"] == {"status": {"run": None}}


def examination(step, *scores):
    """An examination whose prompts are the scores they got."""
    samples = tuple(
        Examined(prompt=str(score), category="single", seed=1, score=score, details="", png=bytes([step, index]))
        for index, score in enumerate(scores)
    )
    return EvaluationDone(step=step, policy="averaged" if step else "base", score=0.5, quality=(), samples=samples)


def test_heldout_pictures_are_those_of_the_newest_examination_worst_first(live, writer):
    def asked(cursor):
        writer.flush()
        return live.poll({"topics": {"heldout": cursor}})["topics"].get("heldout")

    run = start_run(writer)
    assert asked(None) is None
    writer.record(run, examination(0, 1.0, None, 0.0, 0.5))
    first = asked(None)
    assert [one["prompt"] for one in first["samples"]] == ["0.0", "0.5", "1.0", "None"]
    assert (first["is_first"], first["title"]) == (True, "drawn by the base before the first step, score 0.50")
    assert asked(first) == {"run": run, "is_first": True}
    writer.record(run, step_done(0))
    assert asked(first) == {"run": run, "is_first": False}
    writer.record(run, examination(1, 1.0))
    second = asked(first)
    assert [one["prompt"] for one in second["samples"]] == ["1.0"]
    assert (second["is_first"], second["title"]) == (False, "drawn by the averaged policy at step 1, score 0.50")
    writer.record(run, RunStarted(first_step=0, num_steps=600, num_trainable=10))
    again = asked(second)
    assert (again["examination"], again["is_first"]) == (first["examination"], True)


def test_trouble_of_the_lab_is_said_beside_the_news(lab, writer):
    start_run(writer)
    live = Live(lab.reader, lab.actions.trouble)
    TrainFeed(lab.reader).answer_all(live)
    well = live.poll({"token": None, "run": None, "topics": {"status": None}})
    assert set(well) == {"token", "run", "live", "topics"}
    lab.actions.troubled = "The disk is full."
    assert live.poll({"topics": {"status": None}}) == well | {"error": "The disk is full."}
    assert live.poll({"token": well["token"]}) == {"token": well["token"], "error": "The disk is full."}
