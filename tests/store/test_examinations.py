"""Examinations as rows: one made again, one without a score, means by category."""

from dataclasses import replace

from recorded_runs import examined

from dgpo_core.events import EvaluationDone

DONE = EvaluationDone(step=25, policy="averaged", score=0.5, quality=(), samples=())


def record(writer, run_id, *events):
    for event in events:
        writer.record(run_id, event)
    writer.flush()


def test_one_made_again_keeps_what_only_the_first_knew(writer, reader, run_id):
    first = replace(DONE, quality=(("clean", 0.9), ("diversity", 0.2)))
    record(writer, run_id, first, replace(first, score=0.6, quality=(("clean", 0.8),)))
    (row,) = reader.evaluations(run_id)
    assert (row.score, row.quality) == (0.6, (("clean", 0.8), ("diversity", 0.2)))


def test_one_without_a_score_is_neither_a_runs_first_nor_its_last(writer, reader, run_id):
    record(writer, run_id, replace(DONE, step=0, policy="base", score=None))
    assert (reader.run(run_id).first_score, reader.run(run_id).last_score) == (None, None)
    later = [replace(DONE, step=step, score=score) for step, score in ((5, 0.5), (10, 0.75), (15, None))]
    record(writer, run_id, *later)
    assert (reader.run(run_id).first_score, reader.run(run_id).last_score) == (0.5, 0.75)
    said = {line.message for line in reader.diary(run_id)}
    assert "Held-out score of the averaged: none, as the reward had no opinion." in said


def test_categories_are_averaged_over_the_pictures_that_have_a_score(writer, reader, run_id):
    samples = (
        examined(1, category="position", score=0.25),
        examined(2, category="colors", score=1.0),
        examined(3, category="position", score=0.75),
        examined(4, category="colors", score=None),
        examined(5, category="counting", score=None),
    )
    record(writer, run_id, replace(DONE, samples=samples))
    (row,) = reader.evaluations(run_id)
    assert row.by_category == (("position", 0.5, 2), ("colors", 1.0, 1))
