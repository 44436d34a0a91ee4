from dataclasses import replace
from hashlib import sha256
from math import isnan, nan
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_runs import CONFIG, examined, metrics, picture, step_done

from app.store.database import open_for_reading
from app.store.reader import Reader
from app.store.recording import RECORDERS
from app.store.rows import CheckpointRow, EvaluationRow, ExaminedRow, GroupRow, RunState, SampleRow, StepRow
from app.store.writer import Writer
from dgpo_core.events import (
    CheckpointDropped,
    CheckpointSaved,
    ComparisonDone,
    ComparisonFailed,
    Drawing,
    EndReason,
    EvaluationDone,
    Event,
    Examined,
    Phase,
    PhaseChanged,
    Preview,
    RunEnded,
    RunFailed,
    RunStarted,
    ScoredGroup,
    ScoredSample,
    StepDone,
    StepMetrics,
    Warned,
)

numbers = st.floats(allow_nan=False)
pairs = st.lists(st.tuples(st.text(), numbers), max_size=3).map(tuple)
seeds = st.integers(-(2**70), 2**70)
unnumbered_samples = st.builds(
    ScoredSample,
    member=st.just(0),
    seed=seeds,
    png=st.binary(max_size=20),
    reward=st.none() | numbers,
    terms=pairs,
    advantage=numbers,
)
unnumbered_groups = st.builds(
    ScoredGroup,
    index=st.just(0),
    prompt=st.text(),
    samples=st.lists(unnumbered_samples, max_size=3).map(
        lambda samples: tuple(replace(one, member=member) for member, one in enumerate(samples))
    ),
    reward_mean=numbers,
    reward_std=numbers,
    gate=numbers,
    has_preference=st.booleans(),
)
steps = st.builds(
    StepDone,
    step=st.integers(0, 2**40),
    groups=st.lists(unnumbered_groups, max_size=3).map(
        lambda groups: tuple(replace(one, index=index) for index, one in enumerate(groups))
    ),
    metrics=st.builds(StepMetrics, **dict.fromkeys(StepMetrics.__slots__, numbers)),
)
pictures = st.builds(
    Examined,
    prompt=st.text(),
    category=st.text(),
    seed=seeds,
    score=st.none() | numbers,
    details=st.text(),
    png=st.binary(max_size=20),
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """One database for all examples; each example has a run of its own."""
    path = tmp_path_factory.mktemp("lab") / "lab.db"
    with Writer(path) as writer:
        reader = Reader(path)
        yield writer, reader
        reader.close()


def recorded(writer, *events):
    run_id = writer.create_run(CONFIG, num_steps=10)
    for event in events:
        writer.record(run_id, event)
    writer.flush()
    return run_id


def as_sample_row(sample):
    return SampleRow(
        id=0,
        member=sample.member,
        seed=sample.seed,
        sha=sha256(sample.png).hexdigest(),
        reward=sample.reward,
        terms=sample.terms,
        advantage=sample.advantage,
    )


def as_group_row(step, group):
    opinions = [one for one in group.samples if one.reward is not None]
    best_first = sorted(opinions, key=lambda one: one.reward, reverse=True)
    silent = [one for one in group.samples if one.reward is None]
    return GroupRow(
        id=0,
        step=step,
        index=group.index,
        prompt=group.prompt,
        reward_mean=group.reward_mean,
        reward_std=group.reward_std,
        gate=group.gate,
        has_preference=group.has_preference,
        samples=tuple(as_sample_row(one) for one in best_first + silent),
    )


def without_ids(group):
    return replace(group, id=0, samples=tuple(replace(one, id=0) for one in group.samples))


def as_examined_row(picture, side=""):
    return ExaminedRow(
        id=0,
        side=side,
        prompt=picture.prompt,
        category=picture.category,
        seed=picture.seed,
        score=picture.score,
        details=picture.details,
        sha=sha256(picture.png).hexdigest(),
    )


def examined_without_ids(rows):
    return [replace(row, id=0) for row in rows]


def test_every_event_has_a_recorder():
    assert set(RECORDERS) == set(get_args(Event))


@settings(max_examples=40, deadline=None)
@given(event=steps)
def test_a_step_comes_back_whole(lab, event):
    writer, reader = lab
    run_id = recorded(writer, event)
    num_pictures = sum(len(group.samples) for group in event.groups)
    assert reader.steps(run_id) == [StepRow(step=event.step, metrics=event.metrics, pictures=num_pictures)]
    assert [without_ids(one) for one in reader.groups(run_id, event.step)] == [
        as_group_row(event.step, group) for group in event.groups
    ]
    for sample in (sample for group in event.groups for sample in group.samples):
        assert reader.picture(sha256(sample.png).hexdigest()) == sample.png


def test_samples_come_best_first_and_those_without_opinion_last(lab):
    writer, reader = lab
    event = step_done(0, num_groups=1, group_size=5)
    rewards = [-1.0, None, 2.0, -1.0, 0.0]
    samples = tuple(replace(one, reward=reward) for one, reward in zip(event.groups[0].samples, rewards, strict=True))
    run_id = recorded(writer, replace(event, groups=(replace(event.groups[0], samples=samples),)))
    (group,) = reader.groups(run_id, 0)
    assert [(one.member, one.reward) for one in group.samples] == [(2, 2.0), (4, 0.0), (0, -1.0), (3, -1.0), (1, None)]


@settings(max_examples=25, deadline=None)
@given(samples=st.lists(pictures, max_size=4).map(tuple), quality=pairs, score=st.none() | numbers, policy=st.text())
def test_an_evaluation_comes_back_whole(lab, samples, quality, score, policy):
    writer, reader = lab
    event = EvaluationDone(step=7, policy=policy, score=score, quality=quality, samples=samples)
    run_id = recorded(writer, event)
    (row,) = reader.evaluations(run_id)
    assert replace(row, id=0, by_category=()) == EvaluationRow(
        id=0, step=7, policy=policy, score=score, quality=quality, by_category=()
    )
    assert examined_without_ids(reader.examined("evaluation", row.id)) == [as_examined_row(one) for one in samples]


@settings(max_examples=25, deadline=None)
@given(
    before=st.lists(pictures, max_size=3).map(tuple),
    after=st.lists(pictures, max_size=3).map(tuple),
    drawing=st.builds(
        Drawing, guidance_scale=st.none() | st.floats(1, 20), num_sampling_steps=st.none() | st.integers(1, 100)
    ),
)
def test_a_comparison_comes_back_whole(lab, before, after, drawing):
    writer, reader = lab
    run_id = writer.create_run(CONFIG, num_steps=10)
    request_id = writer.request_comparison(run_id, None, 3, 2**64, drawing=drawing)
    awaited = reader.comparison(request_id)
    writer.record(run_id, ComparisonDone(request_id=request_id, step=4, before=before, after=after))
    writer.flush()
    assert (awaited.is_done, awaited.step, awaited.num_prompts, awaited.seed) == (False, None, 3, 2**64)
    assert awaited.drawing == drawing
    assert reader.comparison(request_id) == replace(awaited, is_done=True, step=4)
    assert examined_without_ids(reader.examined("comparison", request_id)) == [
        *(as_examined_row(one, "before") for one in before),
        *(as_examined_row(one, "after") for one in after),
    ]


def test_a_comparison_that_failed_says_why_and_stays_undone(lab):
    writer, reader = lab
    run_id = writer.create_run(CONFIG, num_steps=10)
    request_id = writer.request_comparison(run_id, 3, 3, 0)
    writer.record(run_id, ComparisonFailed(request_id=request_id, message="Checkpoint 3 is torn."))
    writer.flush()
    row = reader.comparison(request_id)
    assert (row.is_done, row.message) == (False, "Checkpoint 3 is torn.")


def test_a_comparison_whose_run_was_deleted_is_dropped(lab):
    writer, reader = lab
    run_id = writer.create_run(CONFIG, num_steps=10)
    request_id = writer.request_comparison(run_id, 3, 3, 0)
    writer.record(run_id, RunEnded(step=0, reason=EndReason.STOPPED))
    writer.delete_run(run_id)
    writer.record(run_id, ComparisonDone(request_id=request_id, step=3, before=(examined(1),), after=(examined(2),)))
    writer.flush()
    assert reader.comparison(request_id) is None
    assert reader.examined("comparison", request_id) == []


def test_previews_come_newest_request_first(lab):
    writer, reader = lab
    run_id = recorded(
        writer,
        Preview(step=1, samples=(examined(1), examined(2))),
        Preview(step=2, samples=(examined(3), examined(4))),
    )
    assert [row.prompt for row in reader.previews(run_id)] == ["prompt 3", "prompt 4", "prompt 1", "prompt 2"]
    assert [row.prompt for row in reader.previews(run_id, limit=1)] == ["prompt 3"]


def test_checkpoints_are_listed_until_they_are_dropped(lab):
    writer, reader = lab
    saved = [CheckpointSaved(step=step, folder=f"runs/1/{step}", num_bytes=2**40) for step in (5, 10)]
    run_id = recorded(writer, *saved, saved[1], CheckpointDropped(step=5, folder="runs/1/5"))
    (row,) = reader.checkpoints(run_id)
    assert row == CheckpointRow(step=10, folder="runs/1/10", num_bytes=2**40, created=row.created)


def test_the_diary_tells_the_story(lab):
    writer, reader = lab
    run_id = recorded(
        writer,
        RunStarted(first_step=0, num_steps=10, num_trainable=77),
        EvaluationDone(step=0, policy="policy", score=0.5, quality=(), samples=()),
        Warned(step=3, message="one reward was missing"),
        CheckpointSaved(step=4, folder="runs/1/4", num_bytes=3_000_000),
        RunEnded(step=4, reason=EndReason.STOPPED),
    )
    assert [(row.step, row.kind, row.message) for row in reader.diary(run_id)] == [
        (0, "started", "Began at step 0 of 10 with 77 trainable numbers."),
        (0, "examined", "Held-out score of the policy: 0.500."),
        (3, "warned", "one reward was missing"),
        (4, "saved", "Saved runs/1/4 (3.0 MB)."),
        (4, "ended", "The run stopped at step 4."),
    ]


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([], RunState.STARTING),
        ([PhaseChanged(step=0, phase=Phase.LOADING, done=0, total=1)], RunState.STARTING),
        ([RunStarted(first_step=0, num_steps=10, num_trainable=1)], RunState.RUNNING),
        ([PhaseChanged(step=0, phase=Phase.SAMPLING, done=0, total=8)], RunState.RUNNING),
        ([PhaseChanged(step=0, phase=Phase.PAUSED, done=0, total=0)], RunState.PAUSED),
        ([RunEnded(step=9, reason=EndReason.FINISHED)], RunState.FINISHED),
        ([RunEnded(step=2, reason=EndReason.STOPPED)], RunState.STOPPED),
        ([RunEnded(step=2, reason=EndReason.FAILED)], RunState.FAILED),
        ([RunFailed(step=2, message="no", details="trace")], RunState.FAILED),
    ],
)
def test_events_move_a_run_through_its_states(lab, events, state):
    writer, reader = lab
    row = reader.run(recorded(writer, *events))
    assert (row.state, row.ended is None) == (state, state.is_live)


def test_a_failed_run_keeps_its_message_and_details(lab):
    writer, reader = lab
    run_id = recorded(
        writer,
        RunFailed(step=2, message="The disk is full.", details="Traceback ..."),
        RunEnded(step=2, reason=EndReason.FAILED),
    )
    row = reader.run(run_id)
    assert (row.message, row.details, row.phase, row.phase_total) == ("The disk is full.", "Traceback ...", "", 0)


def test_a_run_carries_its_newest_numbers(lab):
    writer, reader = lab
    scores = [
        EvaluationDone(step=step, policy="policy", score=score, quality=(), samples=())
        for step, score in [(0, 0.3), (5, 0.6), (9, 0.9)]
    ]
    timed = [StepDone(step=step, groups=(), metrics=replace(metrics(), step_seconds=2.0 + step)) for step in range(3)]
    row = reader.run(recorded(writer, *scores, *timed))
    assert (row.first_score, row.last_score, row.step, row.seconds_per_step) == (0.3, 0.9, 2, 3.0)


def test_the_pace_is_that_of_the_newest_steps(lab):
    writer, reader = lab
    seconds = [100.0] * 5 + [2.0] * 20
    timed = [
        StepDone(step=step, groups=(), metrics=replace(metrics(), step_seconds=taken))
        for step, taken in enumerate(seconds)
    ]
    assert reader.run(recorded(writer, *timed)).seconds_per_step == 2.0


def test_a_metric_that_is_not_a_number_comes_back_as_such(lab):
    writer, reader = lab
    event = replace(step_done(0), metrics=replace(metrics(), kl=nan))
    (row,) = reader.steps(recorded(writer, event))
    assert isnan(row.metrics.kl)
    assert replace(row.metrics, kl=0.0) == replace(event.metrics, kl=0.0)


def test_the_same_step_recorded_twice_is_there_once(lab):
    writer, reader = lab
    run_id = recorded(writer, step_done(0))
    once = (reader.run(run_id), reader.steps(run_id), reader.groups(run_id, 0))
    writer.record(run_id, step_done(0))
    writer.flush()
    assert (reader.run(run_id), reader.steps(run_id), reader.groups(run_id, 0)) == once


def test_a_resumed_run_loses_what_unsaved_weights_made(lab):
    writer, reader = lab
    evaluations = [
        EvaluationDone(step=step, policy="policy", score=step / 10, quality=(), samples=(examined(f"{step} only"),))
        for step in (0, 2, 4)
    ]
    kept = CheckpointSaved(step=2, folder="runs/1/2", num_bytes=1)
    run_id = recorded(writer, *(step_done(step) for step in range(4)), *evaluations, kept)
    lost = reader.evaluations(run_id)[-1]
    gone = [sample.sha for group in reader.groups(run_id, 3) for sample in group.samples]
    writer.record(run_id, RunStarted(first_step=2, num_steps=10, num_trainable=1))
    writer.flush()
    assert [row.step for row in reader.steps(run_id)] == [0, 1]
    assert reader.groups(run_id, 3) == []
    assert reader.examined("evaluation", lost.id) == []
    assert [reader.picture(sha) for sha in gone] == [None] * 6
    assert [row.step for row in reader.evaluations(run_id)] == [0, 2]
    assert reader.run(run_id).last_score == 0.2
    assert [row.step for row in reader.checkpoints(run_id)] == [2]
    assert [row.message for row in reader.diary(run_id) if row.kind == "superseded"] == [
        "Took up again at step 2. Removed, since the weights that made them were not saved: steps: 2, examinations: 1."
    ]


def test_a_first_start_removes_nothing_and_says_nothing_of_it(lab):
    writer, reader = lab
    run_id = recorded(writer, RunStarted(first_step=0, num_steps=10, num_trainable=1))
    assert [row.kind for row in reader.diary(run_id)] == ["started"]


def test_equal_pictures_are_stored_once(writer, reader, run_id, path):
    same = tuple(replace(examined(number), png=picture("same")) for number in range(5))
    writer.record(run_id, Preview(step=0, samples=same))
    writer.flush()
    assert {row.sha for row in reader.previews(run_id)} == {sha256(picture("same")).hexdigest()}
    with open_for_reading(path) as db:
        assert db["pictures"].count == 1
