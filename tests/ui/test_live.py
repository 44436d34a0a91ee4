"""The page's one call: what changed since its token, for the topics it asks for."""

from dataclasses import replace

import pytest
from conftest import HOSTILE, PNG, evaluation, poll, start_run, step_done

from app.ui.live import BYTES_SHARED, Live, whole_number
from app.ui.serving import INLINE_BYTES
from app.ui.train_feed import DIARY_LINES, HELDOUT_AT_ONCE, TOPICS, TrainFeed
from dgpo_core.errors import StoreError
from dgpo_core.events import EndReason, EvaluationDone, Examined, Preview, RunEnded, RunStarted, Warned


@pytest.fixture
def live(reader):
    live = Live(reader)
    TrainFeed(reader).answer_all(live)
    return live


def test_nothing_travels_while_nothing_was_written(live, writer):
    start_run(writer, 2)
    first = poll(live, {"token": None, "topics": {"status": None}})
    assert set(first["topics"]) == {"status"}
    assert poll(live, {"token": first["token"], "topics": {"status": None}}) == {"token": first["token"]}
    writer.record(1, step_done(2))
    writer.flush()
    later = poll(live, {"token": first["token"], "topics": {"status": None}})
    assert later["topics"]["status"]["run"]["steps_done"] == 3


def test_an_empty_store_shows_no_run(live):
    answer = poll(live, {"topics": dict.fromkeys(TOPICS)})
    assert (answer["run"], answer["live"], answer["topics"]) == (None, None, {"status": {"run": None}})


def test_a_page_shows_the_run_it_chose_else_the_live_one_else_the_newest(live, writer):
    first = start_run(writer, 1)
    writer.record(first, RunEnded(step=0, reason=EndReason.STOPPED))
    second = start_run(writer, 1)
    ask = {"topics": {}}
    assert [poll(live, ask | {"run": run})["run"] for run in (first, None, 99, "1", -1)] == [first, *[second] * 4]
    writer.record(second, RunEnded(step=0, reason=EndReason.STOPPED))
    third = start_run(writer)
    writer.record(third, RunEnded(step=0, reason=EndReason.STOPPED))
    writer.flush()
    answer = poll(live, ask)
    assert (answer["run"], answer["live"]) == (third, None)


def test_an_error_of_the_store_is_told_and_not_raised():
    class BrokenReader:
        def change_token(self):
            raise StoreError("lab.db is damaged. Restore it.")

    assert poll(Live(BrokenReader()), {}) == {"error": "lab.db is damaged. Restore it."}


def test_unknown_topics_are_left_out(live, writer):
    start_run(writer)
    assert poll(live, {"topics": {"secrets": None}})["topics"] == {}


@pytest.mark.parametrize("value", [None, "3", 1.0, True, -1, 2**53, [1], {}])
def test_what_is_no_whole_number_is_none(value):
    assert whole_number(value) is None


def test_the_wall_sends_a_step_once_and_then_only_the_range(live, writer):
    run = start_run(writer, 3)
    wall = poll(live, {"topics": {"wall": {"run": None, "step": None, "shown": None}}})["topics"]["wall"]
    assert (wall["step"], wall["latest"], [len(group["samples"]) for group in wall["groups"]]) == (2, 2, [3])
    seen = {"run": run, "step": None, "shown": 2}
    assert poll(live, {"topics": {"wall": seen}})["topics"]["wall"] == {"run": run, "step": 2, "latest": 2}
    older = poll(live, {"topics": {"wall": seen | {"step": 0}}})["topics"]["wall"]
    assert (older["step"], older["latest"], len(older["groups"])) == (0, 2, 1)
    beyond = poll(live, {"topics": {"wall": seen | {"step": 99, "shown": 1}}})["topics"]["wall"]
    assert beyond["step"] == 2


@pytest.mark.parametrize(("num_bytes", "how"), [(INLINE_BYTES, "data:image/"), (INLINE_BYTES + 1, "/pictures/")])
def test_only_small_pictures_come_with_the_wall(num_bytes, how, live, writer):
    run = start_run(writer)
    step = step_done(0)
    group = step.groups[0]
    sample = replace(group.samples[0], png=bytes(num_bytes))
    writer.record(run, replace(step, groups=(replace(group, samples=(sample, *group.samples[1:])),)))
    writer.flush()
    samples = poll(live, {"topics": {"wall": None}})["topics"]["wall"]["groups"][0]["samples"]
    (url,) = [one["url"] for one in samples if one["member"] == sample.member]
    assert url.startswith(how)


@pytest.mark.parametrize("cursor", [None, 7, "x", [], {"run": "1"}, {"run": {}, "step": [], "shown": -1}])
def test_a_senseless_cursor_is_answered_like_a_new_page(cursor, live, writer):
    start_run(writer, 2)
    topics = dict.fromkeys(TOPICS, cursor)
    answer = poll(live, {"topics": topics})["topics"]
    assert len(answer["wall"]["groups"]) == 1
    assert answer["diary"]["lines"][0]["kind"] == "started"
    assert answer["previews"]["samples"] == []


def test_the_diary_sends_each_line_once_and_begins_anew_with_another_run(live, writer):
    run = start_run(writer)
    first = poll(live, {"topics": {"diary": None}})["topics"]["diary"]
    seen = {"run": run, "last": first["last"]}
    assert "diary" not in poll(live, {"topics": {"diary": seen}})["topics"]
    writer.record(run, Warned(step=0, message=HOSTILE))
    writer.flush()
    (line,) = poll(live, {"topics": {"diary": seen}})["topics"]["diary"]["lines"]
    assert (line["step"], line["message"]) == (0, HOSTILE)
    again = poll(live, {"topics": {"diary": {"run": run + 1, "last": 999}}})["topics"]["diary"]
    assert [line["message"] for line in again["lines"]][-1] == HOSTILE


def test_previews_travel_once_and_can_be_asked_for_while_the_model_is_loaded(live, writer):
    run = start_run(writer, 1)
    first = poll(live, {"topics": {"previews": None}})["topics"]["previews"]
    assert (first["can_sample"], first["samples"]) == (True, [])
    sample = step_done(0).groups[0].samples[0]
    drawn = Examined(prompt=HOSTILE, category="", seed=5, score=None, details="", png=sample.png)
    writer.record(run, Preview(step=0, samples=(drawn,)))
    writer.flush()
    second = poll(live, {"topics": {"previews": first}})["topics"]["previews"]
    assert [(one["prompt"], one["seed"], one["score"]) for one in second["samples"]] == [(HOSTILE, "5", None)]
    assert "samples" not in poll(live, {"topics": {"previews": second}})["topics"]["previews"]
    writer.record(run, RunEnded(step=0, reason=EndReason.STOPPED))
    writer.flush()
    assert poll(live, {"topics": {"previews": second}})["topics"]["previews"]["can_sample"] is False


def test_a_warning_travels_beside_the_previews_only_when_it_came_after_the_page_last_asked(live, writer):
    def asked(cursor):
        writer.flush()
        return poll(live, {"topics": {"previews": cursor}})["topics"]["previews"]

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


def test_alarms_travel_once_with_their_pictures_and_stand_in_the_status_card(live, writer):
    def asked(topic, cursor=None):
        writer.flush()
        return poll(live, {"topics": {topic: cursor}})["topics"].get(topic)

    def alarm(step):
        guilty = Examined(prompt=HOSTILE, category="clip", seed=step, score=0.2, details="0.8 before, 0.2 now", png=PNG)
        return Warned(step=step, message=f"The reward rose from 0.5 to 0.{step}. Look.", samples=(guilty,))

    run = start_run(writer)
    first = asked("alarms")
    assert first == {"run": run, "newest": None, "alarms": []}
    assert asked("alarms", first) is None
    for event in (alarm(6), Warned(step=7, message="no pictures"), alarm(8)):
        writer.record(run, event)
    second = asked("alarms", first)
    assert [(one["step"], one["message"]) for one in second["alarms"]] == [
        (8, "The reward rose from 0.5 to 0.8. Look."),
        (6, "The reward rose from 0.5 to 0.6. Look."),
    ]
    assert [(one["prompt"], one["details"]) for one in second["alarms"][0]["samples"]] == [
        (HOSTILE, "0.8 before, 0.2 now")
    ]
    assert asked("alarms", second) is None
    assert asked("alarms")["newest"] == second["newest"]
    assert asked("status")["run"]["alarm"] == {"step": 8, "words": "The reward rose from 0.5 to 0.8."}
    assert asked("previews")["samples"] == []


def test_a_long_diary_begins_with_its_newest_lines(live, writer):
    run = start_run(writer)
    for number in range(DIARY_LINES + 5):
        writer.record(run, Warned(step=0, message=f"warning {number}"))
    writer.flush()
    lines = poll(live, {"topics": {"diary": None}})["topics"]["diary"]["lines"]
    assert [line["message"] for line in lines] == [f"warning {number}" for number in range(5, DIARY_LINES + 5)]


def test_when_the_last_run_is_deleted_every_panel_is_emptied_once(live, writer):
    run = start_run(writer, 1)
    writer.record(run, evaluation(0))
    writer.record(run, RunEnded(step=0, reason=EndReason.STOPPED))
    writer.flush()
    shown = poll(live, {"topics": dict.fromkeys(TOPICS)})["topics"]
    assert {name for name, update in shown.items() if name != "status" and update["run"] == run} == {*TOPICS} - {
        "status"
    }
    writer.delete_run(run)
    emptied = poll(live, {"topics": shown})["topics"]
    assert emptied == {
        "status": {"run": None},
        "alarms": {"run": None, "newest": None, "alarms": []},
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
    assert poll(live, {"topics": emptied})["topics"] == {"status": {"run": None}}


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
        return poll(live, {"topics": {"heldout": cursor}})["topics"].get("heldout")

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


def test_heldout_pictures_come_along_while_they_are_looked_at(live, writer):
    def urls(cursor):
        writer.flush()
        samples = poll(live, {"topics": {"heldout": cursor}})["topics"]["heldout"]["samples"]
        return [one["url"].partition(",")[0].rpartition("/")[0] for one in samples]

    run = start_run(writer)
    writer.record(run, examination(0, 0.0, *[1.0] * HELDOUT_AT_ONCE))
    inline, by_address = "data:image", "/pictures"
    assert urls(None) == [inline] * HELDOUT_AT_ONCE + [by_address]
    writer.record(run, step_done(0))
    for cursor in (None, {"is_open": False}, {"is_open": "yes"}, []):
        assert urls(cursor) == [by_address] * (HELDOUT_AT_ONCE + 1)
    assert urls({"is_open": True}) == [inline] * HELDOUT_AT_ONCE + [by_address]


def test_trouble_of_the_lab_is_said_beside_the_news(lab, writer):
    start_run(writer)
    live = Live(lab.reader, lab.actions.trouble)
    TrainFeed(lab.reader).answer_all(live)
    well = poll(live, {"token": None, "run": None, "topics": {"status": None}})
    assert set(well) == {"token", "run", "live", "topics"}
    lab.actions.troubled = "The disk is full."
    assert poll(live, {"topics": {"status": None}}) == well | {"error": "The disk is full."}
    assert poll(live, {"token": well["token"]}) == {"token": well["token"], "error": "The disk is full."}


class Counted:
    """A topic that counts how often it is worked out; its answer names the run and the cursor it was given."""

    def __init__(self):
        self.asked = 0

    def __call__(self, run, cursor):
        self.asked += 1
        return {"run": run and run.id, "step": run and run.step, "cursor": cursor}


@pytest.fixture
def counted(live):
    topic = Counted()
    live.topic("counted", topic)
    return topic


def told(live, cursor=None, **asked):
    """The counted topic's answer to a page that has nothing yet."""
    return poll(live, {"token": None, "topics": {"counted": cursor}} | asked)["topics"]["counted"]


def test_ten_pages_that_ask_the_same_cost_one_answer_and_all_see_the_next_step(live, writer, counted):
    run = start_run(writer, 1)
    assert [told(live) for _ in range(10)] == [{"run": run, "step": 0, "cursor": None}] * 10
    assert counted.asked == 1
    writer.record(run, step_done(1))
    writer.flush()
    assert [told(live)["step"] for _ in range(10)] == [1] * 10
    assert counted.asked == 2


def test_pages_that_show_another_run_or_have_come_less_far_get_answers_of_their_own(live, writer, counted):
    first = start_run(writer, 1)
    writer.record(first, RunEnded(step=0, reason=EndReason.STOPPED))
    second = start_run(writer, 2)
    cursors = [None, {"step": 1}, {"step": 2}, {"step": "1"}, [1]]
    for _ in range(2):
        for run, step in ((first, 0), (second, 1)):
            assert [told(live, cursor, run=run) for cursor in cursors] == [
                {"run": run, "step": step, "cursor": cursor} for cursor in cursors
            ]
    assert counted.asked == 2 * len(cursors)
    assert told(live, run=None)["run"] == second
    assert counted.asked == 2 * len(cursors)  # the page that follows the live run shares with those that chose it


def test_a_topic_that_more_than_the_store_decides_is_worked_out_for_every_page(live, writer):
    start_run(writer)
    topic = Counted()
    live.topic("words", topic, is_of_store=False)
    for _ in range(3):
        poll(live, {"topics": {"words": None}})
    assert topic.asked == 3


def test_a_topic_that_more_than_the_store_decides_is_heard_while_nothing_is_written(live, writer):
    start_run(writer)
    said = ["on"]
    live.topic("race", lambda run, cursor: said[0] if cursor != said[0] else None, is_of_store=False)
    first = poll(live, {"token": None, "topics": {"race": None, "status": None}})
    assert first["topics"]["race"] == "on"
    known = {"token": first["token"], "topics": {"race": "on", "status": None}}
    assert poll(live, known) == {"token": first["token"]}
    said[0] = "over"
    assert poll(live, known)["topics"] == {"race": "over"}


def test_what_is_kept_for_pages_stays_small_whatever_they_ask(live, writer):
    start_run(writer)
    live.topic("long", lambda run, cursor: "x" * 100_000)
    for number in range(100):
        assert len(poll(live, {"topics": {"long": number}, "run": number})["topics"]["long"]) == 100_000
    assert 0 < live.num_bytes_shared <= BYTES_SHARED
    writer.record(1, Warned(step=0, message="careful"))
    writer.flush()
    poll(live, {"topics": {"long": 1}})
    assert 0 < live.num_bytes_shared < 110_000
