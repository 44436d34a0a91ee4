"""Curves: only new rows travel, and what was done again replaces what it replaces."""

from dataclasses import fields, replace
from math import inf, nan

import pytest
from conftest import evaluation, metrics, start_run, step_done

from app.store.rows import StepRow
from app.ui.charts import MAX_POINTS, RUN_CHARTS, STEP_COLUMNS, chosen_runs, curve_update, short
from dgpo_core.events import RunStarted, StepMetrics


def update(reader, run_id, seen):
    return curve_update(reader, [reader.run(run_id)], seen)


def seen_of(news):
    """The cursor of a browser that has taken this update, as series.js builds it."""
    (run,) = news["runs"]
    steps, last = run["steps"], run["evaluations"][-1:]
    return {
        str(run["id"]): {
            "step": steps["step"][-1] if steps else -1,
            "mark": steps["step_seconds"][-1] if steps else None,
            "examined": last[0]["step"] if last else None,
            "examination": last[0]["id"] if last else None,
        }
    }


def test_a_new_page_gets_everything_and_then_only_what_is_new(reader, writer):
    run_id = start_run(writer, 3)
    writer.record(run_id, evaluation(0, 0.25))
    writer.flush()
    first = update(reader, run_id, {})
    (run,) = first["runs"]
    assert (run["reset"], run["steps"]["step"], run["name"]) == (True, [0, 1, 2], "try")
    assert set(run["steps"]) == {"step", "num_pictures", *STEP_COLUMNS}
    assert run["evaluations"] == [
        {
            "id": 1,
            "step": 0,
            "policy": "averaged",
            "score": 0.25,
            "quality": {"sharpness": 0.5},
            "categories": {"single": 0.25},
        }
    ]
    seen = seen_of(first)
    assert update(reader, run_id, seen) is None
    writer.record(run_id, step_done(3))
    writer.record(run_id, evaluation(4))
    writer.flush()
    (run,) = update(reader, run_id, seen)["runs"]
    assert (run["reset"], run["steps"]["step"], [one["step"] for one in run["evaluations"]]) == (False, [3], [4])


def test_the_pictures_of_a_step_are_those_that_it_had_whatever_its_settings_say(reader, writer):
    run_id = start_run(writer, 1)
    two_groups = step_done(1)
    one = two_groups.groups[0]
    writer.record(run_id, replace(two_groups, groups=(one, replace(one, index=1, samples=one.samples[:2]))))
    writer.record(run_id, replace(step_done(2), groups=()))
    writer.flush()
    rollout = reader.run(run_id).config["rollout"]
    assert rollout["groups_per_step"] * rollout["group_size"] == 96
    (run,) = update(reader, run_id, {})["runs"]
    assert run["steps"]["num_pictures"] == [3, 5, 0]


def test_a_run_without_steps_grows_without_a_reset(reader, writer):
    run_id = start_run(writer)
    seen = seen_of(update(reader, run_id, {}))
    assert update(reader, run_id, seen) is None
    writer.record(run_id, step_done(0))
    writer.flush()
    (run,) = update(reader, run_id, seen)["runs"]
    assert (run["reset"], run["steps"]["step"]) == (False, [0])


def test_steps_done_again_after_a_resume_replace_the_old_ones(reader, writer):
    run_id = start_run(writer, 5)
    writer.record(run_id, evaluation(5))
    writer.flush()
    seen = seen_of(update(reader, run_id, {}))
    writer.record(run_id, RunStarted(first_step=2, num_steps=600, num_trainable=10))
    writer.record(run_id, step_done(2, step_seconds=7.0))
    writer.flush()
    (run,) = update(reader, run_id, seen)["runs"]
    assert (run["reset"], run["steps"]["step"], run["evaluations"]) == (True, [0, 1, 2], [])
    for step in (3, 4, 5):
        writer.record(run_id, step_done(step, step_seconds=7.0))
    writer.flush()
    (run,) = update(reader, run_id, seen)["runs"]  # the browser slept: its last step is there again, with another mark
    assert (run["reset"], run["steps"]["step"]) == (True, [0, 1, 2, 3, 4, 5])


def test_another_examination_of_the_same_step_travels(reader, writer):
    run_id = start_run(writer, 1)
    writer.record(run_id, evaluation(1, 0.25))
    writer.flush()
    seen = seen_of(update(reader, run_id, {}))
    writer.record(run_id, replace(evaluation(1, 0.75), policy="policy"))
    writer.flush()
    (run,) = update(reader, run_id, seen)["runs"]
    assert (run["reset"], [(one["policy"], one["score"]) for one in run["evaluations"]]) == (False, [("policy", 0.75)])


def test_a_long_run_arrives_thinned_with_its_ends(reader, writer):
    run_id = start_run(writer)

    class LongRun:
        def steps(self, run_id, after=-1, limit=2000):
            assert limit == MAX_POINTS
            return [StepRow(step=step, metrics=metrics(step), pictures=96) for step in range(0, 5000, 10)]

        def evaluations(self, run_id, after=-1):
            return []

    (run,) = curve_update(LongRun(), [reader.run(run_id)], {})["runs"]
    assert len(run["steps"]["step"]) == MAX_POINTS


def test_choosing_other_runs_is_an_update_even_without_new_rows(reader, writer):
    first, second = start_run(writer, 2), start_run(writer, 1)
    both = curve_update(reader, [reader.run(first), reader.run(second)], {})
    assert [run["id"] for run in both["runs"]] == [first, second]
    seen = seen_of({"runs": both["runs"][:1]}) | seen_of({"runs": both["runs"][1:]})
    assert curve_update(reader, [reader.run(first), reader.run(second)], seen) is None
    fewer = curve_update(reader, [reader.run(first)], seen)
    assert [(run["id"], run["steps"]) for run in fewer["runs"]] == [(first, {})]


@pytest.mark.parametrize("known", [3, {}, {"step": "x", "mark": [], "examined": {}, "examination": None}])
def test_a_senseless_cursor_gets_everything(known, reader, writer):
    run_id = start_run(writer, 2)
    (run,) = update(reader, run_id, {str(run_id): known})["runs"]
    assert (run["reset"], run["steps"]["step"]) == (True, [0, 1])


def test_a_panel_follows_the_shown_run_or_its_own_list(reader, writer):
    first, second = start_run(writer), start_run(writer)
    shown = reader.run(second)
    assert chosen_runs(reader, shown, None) == [shown]
    assert chosen_runs(reader, None, None) == []
    assert [run.id for run in chosen_runs(reader, shown, [first, "x", None, 99, True])] == [first]


def test_charts_draw_columns_that_exist_once_each_and_all_say_what_they_show():
    columns = {column for chart in RUN_CHARTS for column, _ in chart.lines} | {
        column for chart in RUN_CHARTS for column in (*chart.overlay, chart.spread) if column
    }
    assert columns <= {one.name for one in fields(StepMetrics)}
    assert len({chart.key for chart in RUN_CHARTS}) == len(RUN_CHARTS)
    assert all(chart.title and chart.help for chart in RUN_CHARTS)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1 / 3, 0.33333), (123456.0, 123460.0), (0.0, 0.0), (nan, None), (inf, None), (None, None)],
)
def test_numbers_travel_with_five_digits_and_only_if_they_are_numbers(value, shown):
    assert short(value) == shown
