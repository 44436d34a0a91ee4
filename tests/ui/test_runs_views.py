"""Runs as plain values: the list, the facts, the difference of two, and their recipes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.recipes import parse_recipe
from app.store.rows import CheckpointRow, EvaluationRow, EventRow, RunRow, RunState
from app.ui import runs_views as views
from app.ui.table import NOTHING, Column, table
from dgpo_core.config import RunConfig, to_dict

NOW = datetime(2025, 1, 2, 5, 0, 0, tzinfo=UTC)
HOSTILE = "${alert(1)} {{value}} <b>x</b>"


def run(run_id=1, state=RunState.RUNNING, **changes):
    row = RunRow(
        id=run_id,
        name=f"try {run_id}",
        state=state,
        created="2025-01-02T03:00:00Z",
        ended=None,
        config=to_dict(RunConfig()),
        notes="",
        step=4,
        num_steps=10,
        phase="",
        phase_done=0,
        phase_total=0,
        seconds_per_step=5.0,
        first_score=None,
        last_score=None,
        message="",
        details="",
    )
    return replace(row, **changes)


def evaluation(evaluation_id, step, by_category, quality):
    return EvaluationRow(
        id=evaluation_id, step=step, policy="averaged", score=0.5, quality=quality, by_category=by_category
    )


def cells(value):
    return [row["cells"] for row in value["rows"]]


def test_the_list_is_newest_first_and_marks_the_open_run():
    finished = run(2, RunState.FINISHED, ended="2025-01-02T03:10:30Z", step=9, first_score=0.63, last_score=0.9)
    lost = run(1, RunState.INTERRUPTED, name=HOSTILE, step=-1)
    listed = views.run_table([lost, finished, run(3)], 2, NOW)
    assert cells(listed) == [
        ["try 3", "running", "5 of 10", NOTHING, "about 25 s", "2025-01-02 03:00 UTC"],
        ["try 2", "finished", "10 of 10", "0.63 → 0.90", "about 50 s", "2025-01-02 03:00 UTC"],
        [HOSTILE, "interrupted", "0 of 10", NOTHING, NOTHING, "2025-01-02 03:00 UTC"],
    ]
    assert (listed["chosen"], [row["id"] for row in listed["rows"]]) == ("2", ["3", "2", "1"])


def test_no_runs_says_what_to_press():
    listed = views.run_table([], None, NOW)
    assert listed["rows"] == []
    assert "press Start" in listed["empty"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-3, "0 s"), (0, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (90_000, "25 h 0 min")],
)
def test_durations_in_two_units(seconds, words):
    assert views.duration(timedelta(seconds=seconds)) == words


def test_a_time_without_a_zone_is_taken_as_utc():
    assert views.clock("2025-01-02T03:04:05") == "2025-01-02 03:04 UTC"


def test_facts_of_a_failed_run_end_with_its_message():
    failed = run(
        state=RunState.FAILED,
        ended="2025-01-02T03:00:10Z",
        first_score=0.6,
        last_score=0.7,
        message="The loss is not finite.",
    )
    assert views.facts(failed, NOW, has_checkpoint=True).splitlines() == [
        "try 1 (run 1)",
        "Failed. It can go on from its last checkpoint.",
        "5 of 10 steps, started 2025-01-02 03:00 UTC, took about 25 s.",
        "Held-out score 0.60 → 0.70.",
        "The loss is not finite.",
    ]


def test_facts_of_a_live_run_say_how_long_it_has_been_at_it():
    assert views.facts(run(name=HOSTILE, step=-1), NOW, has_checkpoint=False).splitlines() == [
        f"{HOSTILE} (run 1)",
        "Running.",
        "0 of 10 steps, started 2025-01-02 03:00 UTC, 2 h 0 min so far.",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "about 25 s"),
        ({"state": RunState.INTERRUPTED}, "about 25 s"),
        ({"state": RunState.STOPPED, "ended": "2025-01-04T03:00:00Z"}, "about 25 s"),
        ({"step": -1, "seconds_per_step": None}, "2 h 0 min"),
        ({"seconds_per_step": None, "state": RunState.FAILED, "ended": "2025-01-02T03:00:10Z"}, "10 s"),
        ({"seconds_per_step": None, "state": RunState.INTERRUPTED}, NOTHING),
    ],
)
def test_time_taken_is_that_of_the_steps_and_not_of_the_nights_between_them(changes, words):
    assert views.time_taken(run(**changes), NOW) == words


@pytest.mark.parametrize(
    ("state", "other", "possible"),
    [
        (RunState.STOPPED, RunState.FINISHED, True),
        (RunState.INTERRUPTED, RunState.FINISHED, True),
        (RunState.FAILED, RunState.RUNNING, False),
        (RunState.FAILED, RunState.FINISHED, True),
        (RunState.FINISHED, RunState.FINISHED, False),
        (RunState.RUNNING, RunState.FINISHED, False),
    ],
)
def test_a_run_resumes_when_it_ended_early_and_nothing_else_is_live(state, other, possible):
    mine = run(state=state)
    assert views.can_resume(mine, [mine, run(2, other)]) is possible


def test_the_difference_names_each_differing_setting_once_by_path():
    left = {"name": "a", "seed": 0, "loss": {"kl_weight": 0.0, "clip_range": 0.002}, "update": {"per_sigma": True}}
    right = {"name": "b", "seed": 0, "loss": {"kl_weight": 0.1, "clip_range": 0.002}, "update": {"per_sigma": False}}
    assert views.config_difference(left, right) == [("loss.kl_weight", "0.0", "0.1"), ("update.per_sigma", "on", "off")]


def test_a_setting_only_one_run_has_is_a_difference():
    assert views.config_difference({"loss": {"old": 1}}, {"loss": {"new": None}, "seed": 2}) == [
        ("loss.old", "1", "not set"),
        ("loss.new", "not set", "None"),
        ("seed", "not set", "2"),
    ]


def test_equal_settings_say_so():
    same = views.difference_table(run(1), run(2, name="other"))
    assert (same["rows"], same["empty"]) == ([], "Both runs have the same settings.")


def test_hostile_names_and_values_stay_as_they_are():
    shown = views.difference_table(run(1, name=HOSTILE), run(2, config=to_dict(RunConfig()) | {"seed": HOSTILE}))
    assert [column["label"] for column in shown["columns"]] == ["Setting", f"{HOSTILE} (run 1)", "try 2 (run 2)"]
    assert cells(shown) == [["seed", "0", HOSTILE]]


def test_examinations_line_up_even_when_they_measured_different_things():
    rows = [
        evaluation(1, 0, (("single", 0.9, 10),), (("edge_sharpness", 0.81234),)),
        evaluation(2, 25, (("single", 1.0, 10), ("", 0.25, 4)), (("purity", 1.0),)),
    ]
    shown = views.evaluation_table(rows)
    labels = ["Step", "Policy", "Score", "single", "no category", "edge sharpness", "purity"]
    assert [column["label"] for column in shown["columns"]] == labels
    assert cells(shown) == [
        ["25", "averaged", "0.500", "1.00", "0.25", NOTHING, "1"],
        ["0", "averaged", "0.500", "0.90", NOTHING, "0.812", NOTHING],
    ]


@pytest.mark.parametrize(
    ("num_bytes", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (5_400_000, "5.4 MB"),
        (3e12, "3.0 TB"),
        (2e15, "2000.0 TB"),
    ],
)
def test_sizes_in_the_largest_unit(num_bytes, words):
    assert views.size(num_bytes) == words


def test_checkpoints_and_diary_are_newest_first():
    created = "2025-01-02T03:00:00Z"
    saved = [CheckpointRow(step=step, folder=f"runs/1/{step}", num_bytes=2000, created=created) for step in (25, 50)]
    assert cells(views.checkpoint_table(saved)) == [
        ["50", "2.0 kB", "2025-01-02 03:00 UTC", "runs/1/50"],
        ["25", "2.0 kB", "2025-01-02 03:00 UTC", "runs/1/25"],
    ]
    diary = [EventRow(id=i, created=created, step=i - 2, kind="warned", message=HOSTILE) for i in (1, 2)]
    assert cells(views.diary_table(diary)) == [
        ["2025-01-02 03:00 UTC", "0", "warned", HOSTILE],
        ["2025-01-02 03:00 UTC", NOTHING, "warned", HOSTILE],
    ]


def test_a_long_diary_shows_its_newest_lines():
    created = "2025-01-02T03:00:00Z"
    diary = [EventRow(id=i, created=created, step=i, kind="saved", message="") for i in range(1, 1001)]
    shown = views.diary_table(diary)
    assert [shown["rows"][0]["id"], len(shown["rows"])] == ["1000", views.DIARY_SHOWN]


def test_the_open_run_is_not_offered_beside_itself():
    assert views.other_choices([run(1), run(3), run(2)], 3) == [("try 2 (run 2)", 2), ("try 1 (run 1)", 1)]


@pytest.mark.parametrize(
    ("name", "file_name"),
    [
        ("My Run!", "my-run-7.yaml"),
        ("../../etc/passwd", "etc-passwd-7.yaml"),
        ("\U0001f408", "run-7.yaml"),
        ("x" * 200, "x" * 60 + "-7.yaml"),
    ],
)
def test_recipe_files_have_names_that_every_system_takes(name, file_name):
    assert views.recipe_file_name(run(7, name=name)) == file_name


@pytest.mark.parametrize("name", ["plain", HOSTILE, "5", "3e-4", "null", "naïve # not a comment: really"])
def test_a_downloaded_recipe_starts_the_same_run_under_its_present_name(name):
    saved = views.recipe(run(name=name, config=to_dict(RunConfig(name="before", seed=3))))
    assert parse_recipe(saved["text"]) == RunConfig(name=name, seed=3)


def test_the_question_before_deleting_names_the_run_and_what_goes_with_it():
    assert views.deletion_question(run(name=HOSTILE)) == (
        f"Delete {HOSTILE} (run 1) for good, with its 5 steps, its pictures, labels and what was learned from them, "
        "examinations, comparisons and checkpoints? Models that were saved from it stay."
    )


def test_a_row_must_have_a_cell_for_each_column():
    with pytest.raises(AssertionError):
        table([Column("one"), Column("two")], [(1, ["only"])], empty="", caption="")
