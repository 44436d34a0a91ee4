"""Warnings with pictures: kept, found again, and gone with the weights they are about."""

from contextlib import closing
from hashlib import sha256

from recorded_runs import examined, picture, step_done

from app.store.reader import Reader
from dgpo_core.events import Preview, RunStarted, Warned


def alarm(step):
    samples = (examined(10 * step, score=0.1), examined(10 * step + 1, score=0.2))
    return Warned(step=step, message=f"alarm {step}", samples=samples)


def record(writer, run_id, *events):
    for event in events:
        writer.record(run_id, event)
    writer.flush()


def warnings(reader, run_id):
    return [(row.step, row.message) for row in reader.diary(run_id) if row.kind == "warned"]


def test_an_alarm_is_found_again_with_its_pictures_and_apart_from_those_drawn_on_request(writer, run_id, path):
    asked_for = Preview(step=1, samples=(examined(7),))
    record(writer, run_id, asked_for, alarm(2), alarm(4), Warned(step=5, message="no pictures"))
    writer.close()
    with closing(Reader(path)) as anew:
        newest, first = anew.alarms(run_id)
        assert [(row.step, row.message) for row in (newest, first)] == [(4, "alarm 4"), (2, "alarm 2")]
        assert anew.alarms(run_id, limit=1) == [newest]
        shown = anew.examined("preview", newest.id)
        assert [(row.prompt, row.score, row.details) for row in shown] == [
            ("prompt 40", 0.1, "found: a red circle"),
            ("prompt 41", 0.2, "found: a red circle"),
        ]
        assert [anew.picture(row.sha) for row in shown] == [picture(40), picture(41)]
        assert [row.prompt for row in anew.previews(run_id)] == ["prompt 7"]
        assert warnings(anew, run_id) == [(2, "alarm 2"), (4, "alarm 4"), (5, "no pictures")]


def test_a_resumed_run_loses_the_alarms_over_weights_that_are_gone(writer, reader, run_id):
    steps = [step_done(step) for step in range(4)]
    record(writer, run_id, *steps, alarm(2), alarm(4), Preview(step=4, samples=(examined(7),)))
    lost = reader.alarms(run_id)[0]
    record(writer, run_id, RunStarted(first_step=2, num_steps=10, num_trainable=1))
    assert [row.message for row in reader.alarms(run_id)] == ["alarm 2"]
    assert reader.examined("preview", lost.id) == []
    assert reader.picture(sha256(picture(40)).hexdigest()) is None
    assert warnings(reader, run_id) == [(2, "alarm 2"), (4, "alarm 4")]
    assert [row.prompt for row in reader.previews(run_id)] == ["prompt 7"]
