"""Comparisons as plain values: pairing, counting, words and choices."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.statistics import paired_interval
from app.store.rows import CheckpointRow, ComparisonRow, ExaminedRow, RunRow, RunState
from app.ui import comparison_request as asking
from app.ui import comparison_views as views
from dgpo_core.errors import ConfigError
from dgpo_core.events import Drawing, Phase

HOSTILE = "a cat ${alert(1)} {{value}} <img src=x onerror=alert(1)> \u202e\U0001f408"


def picture(side, score, *, prompt="a red circle", category="single", seed=1, row_id=0):
    return ExaminedRow(
        id=row_id, side=side, prompt=prompt, category=category, seed=seed, score=score, details="", sha="0" * 64
    )


def pair(before, after, category="single"):
    return views.Pair(picture("before", before, category=category), picture("after", after, category=category))


def run(run_id=1, state=RunState.RUNNING, **changes):
    row = RunRow(
        id=run_id,
        name=f"run {run_id}",
        state=state,
        created="2025-01-02T03:04:05Z",
        ended=None,
        config={},
        notes="",
        step=4,
        num_steps=10,
        phase="",
        phase_done=0,
        phase_total=0,
        seconds_per_step=None,
        first_score=None,
        last_score=None,
        message="",
        details="",
    )
    return replace(row, **changes)


def stored(comparison_id=1, **changes):
    row = ComparisonRow(
        id=comparison_id,
        run_id=1,
        created="2025-01-02T03:04:05Z",
        step=25,
        num_prompts=60,
        seed=0,
        drawing=Drawing(),
        is_done=True,
        message="",
    )
    return replace(row, **changes)


def checkpoint(step):
    return CheckpointRow(step=step, folder=f"runs/1/{step}", num_bytes=1, created="2025-01-02T03:04:05Z")


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [(0.0, 1.0, "better"), (1.0, 0.5, "worse"), (0.5, 0.5, "same"), (None, 1.0, "unscored"), (1.0, None, "unscored")],
)
def test_a_pair_is_judged_by_its_two_scores(before, after, verdict):
    assert pair(before, after).verdict == verdict


def test_pictures_are_paired_by_prompt_and_seed_in_the_order_of_before():
    rows = [
        picture("before", 0.0, prompt="b", seed=1, row_id=1),
        picture("before", 0.0, prompt="a", seed=2, row_id=2),
        picture("before", 0.0, prompt="alone", seed=3, row_id=3),
        picture("after", 1.0, prompt="a", seed=2, row_id=4),
        picture("after", 1.0, prompt="b", seed=1, row_id=5),
        picture("after", 1.0, prompt="b", seed=9, row_id=6),
    ]
    pairing = views.paired(rows)
    assert [(one.before.id, one.after.id) for one in pairing.pairs] == [(1, 5), (2, 4)]
    assert pairing.num_alone == 2


def test_the_same_prompt_and_seed_twice_is_paired_in_order():
    rows = [picture("before", 0.0, row_id=1), picture("before", 0.0, row_id=2)]
    rows += [picture("after", 1.0, row_id=3), picture("after", 1.0, row_id=4)]
    assert [(one.before.id, one.after.id) for one in views.paired(rows).pairs] == [(1, 3), (2, 4)]


@given(st.lists(st.tuples(st.sampled_from(["before", "after"]), st.integers(0, 3)), max_size=20))
def test_every_picture_is_in_one_pair_or_counted_alone(sides):
    rows = [picture(side, 1.0, seed=seed, row_id=i) for i, (side, seed) in enumerate(sides)]
    pairing = views.paired(rows)
    used = [one for pair in pairing.pairs for one in (pair.before.id, pair.after.id)]
    assert len(used) == len(set(used))
    assert len(used) + pairing.num_alone == len(rows)


def test_the_table_has_all_prompts_first_then_categories_as_drawn():
    pairs = [pair(0.0, 1.0, "two"), pair(1.0, 1.0, "single"), pair(1.0, 0.0, "two"), pair(None, 1.0, "counting")]
    table = views.score_table(pairs)
    assert [column["label"] for column in table["columns"]][:5] == ["Category", "Pairs", "Before", "After", "Change"]
    cells = [row["cells"] for row in table["rows"]]
    assert cells[0][:5] == ["all prompts", "3", "0.67", "0.67", "0.00"]
    interval = views.interval_text(paired_interval([0.0, 1.0, 1.0], [1.0, 1.0, 0.0]))
    assert cells[0][5:] == [interval, "1", "1", "1", "1.000"]
    interval = views.interval_text(paired_interval([0.0, 1.0], [1.0, 0.0]))
    assert cells[1] == ["two", "2", "0.50", "0.50", "0.00", interval, "1", "1", "0", "1.000"]
    assert cells[2] == ["single", "1", "1.00", "1.00", "0.00", views.NOTHING, "0", "0", "1", "1.000"]
    assert cells[3] == ["counting", "0", *[views.NOTHING] * 8]


def test_the_interval_of_a_change_is_that_of_its_pairs():
    table = views.score_table([*[pair(0.0, 1.0)] * 3, pair(1.0, 1.0), pair(None, 1.0)])
    interval = paired_interval([0.0, 0.0, 0.0, 1.0], [1.0] * 4)
    assert [row["cells"][5] for row in table["rows"]] == [views.interval_text(interval)] * 2


def test_an_empty_comparison_says_so():
    table = views.score_table([])
    assert (table["rows"], table["empty"]) == ([], "This comparison holds no pairs.")


def test_the_outcome_in_words_counts_only_what_has_scores():
    pairs = [pair(0.0, 1.0)] * 31 + [pair(1.0, 0.0)] * 4 + [pair(1.0, 1.0)] * 65 + [pair(None, 1.0)] * 2
    words = views.summary(views.Pairing(tuple(pairs), num_alone=1), Drawing())
    assert words == (
        "31 better, 4 worse, 65 same. Mean score 0.69 before, 0.96 after: +0.27 (95% interval +0.16 to +0.37). "
        "Chance alone would rarely split the changed pairs so unevenly (sign test p < 0.001).\n"
        "2 pairs not counted: a picture without a score.\n"
        "1 picture left out: the other side is missing."
    )


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([], "No pair has a score on both sides, so nothing can be counted."),
        ([pair(None, None)], "No pair has a score on both sides, so nothing can be counted."),
        (
            [pair(0.5, 0.5)] * 3,
            "0 better, 0 worse, 3 same. Mean score 0.50 before, 0.50 after: 0.00. No pair changed its score.",
        ),
        (
            [pair(0.2, 0.4)],
            "1 better, 0 worse, 0 same. Mean score 0.20 before, 0.40 after: +0.20. "
            "Chance alone could well split the changed pairs like this (sign test p = 1.000).",
        ),
    ],
)
def test_the_outcome_of_few_or_tied_pairs(pairs, words):
    assert views.summary(views.Pairing(tuple(pairs), num_alone=0), Drawing()) == words


def test_a_hostile_prompt_travels_unchanged_as_data():
    before, after = picture("before", None, prompt=HOSTILE), picture("after", 1.0, prompt=HOSTILE)
    shown = views.gallery(stored(step=None), views.paired([before, after]))
    assert shown == {
        "id": 1,
        "before_label": "before: the base",
        "after_label": "after: the policy as it was",
        "categories": ["single"],
        "pairs": [
            {
                "prompt": HOSTILE,
                "category": "single",
                "seed": "1",
                "verdict": "unscored",
                "before": {"sha": "0" * 64, "score": None, "details": ""},
                "after": {"sha": "0" * 64, "score": "1.00", "details": ""},
            }
        ],
    }


@pytest.mark.parametrize(
    ("value", "text"), [(0.25, "+0.25"), (-0.25, "\N{MINUS SIGN}0.25"), (0.004, "0.00"), (-0.004, "0.00")]
)
def test_changes_are_signed_unless_they_round_to_nothing(value, text):
    assert views.signed(value) == text


@pytest.mark.parametrize(
    ("p_value", "text"), [(0.0005, "< 0.001"), (0.001, "0.001"), (0.0312, "0.031"), (1.0, "1.000")]
)
def test_tiny_chances_are_not_given_as_zero(p_value, text):
    assert views.chance_text(p_value) == text


def test_a_live_run_offers_the_policy_now_before_its_checkpoints():
    assert asking.checkpoint_choices(run(), [checkpoint(25), checkpoint(50)]) == [
        ("the policy now", "now"),
        ("checkpoint of step 50", "50"),
        ("checkpoint of step 25", "25"),
    ]


def test_a_finished_run_without_checkpoints_offers_nothing():
    assert asking.checkpoint_choices(run(state=RunState.FINISHED), []) == []


@pytest.mark.parametrize(("chosen", "opened"), [(1, 1), (99, 2), ("typed by hand", 2), (None, 2)])
def test_the_chosen_run_gives_way_to_the_live_one_when_it_is_gone(chosen, opened):
    runs = [run(3, RunState.FINISHED), run(2, RunState.PAUSED), run(1, RunState.FAILED)]
    assert asking.chosen_run(runs, chosen).id == opened


def test_without_a_live_run_the_newest_is_chosen_and_without_runs_none():
    assert asking.chosen_run([run(1, RunState.FAILED), run(4, RunState.STOPPED)], None).id == 4
    assert asking.chosen_run([], 1) is None


def test_stored_comparisons_are_listed_newest_first_with_their_state():
    listed = asking.comparison_choices(
        [
            stored(1),
            stored(2, is_done=False, step=None, num_prompts=1),
            stored(3, is_done=False, message="no"),
            stored(4, run_id=9),
        ],
        [run(1, name=HOSTILE)],
    )
    assert listed == [
        ("a deleted run · step 25 · 60 prompts, seed 0 · 2025-01-02 03:04", 4),
        (f"{HOSTILE} · step 25 · 60 prompts, seed 0 · 2025-01-02 03:04 · failed", 3),
        (f"{HOSTILE} · policy then · 1 prompt, seed 0 · 2025-01-02 03:04 · not done yet", 2),
        (f"{HOSTILE} · step 25 · 60 prompts, seed 0 · 2025-01-02 03:04", 1),
    ]


@pytest.mark.parametrize(
    ("run_row", "comparison", "words"),
    [
        (run(), stored(message="No memory."), "This comparison failed: No memory."),
        (None, stored(), "The run of this comparison was deleted."),
        (run(phase=Phase.COMPARING, phase_done=3, phase_total=8), stored(), "Drawing pictures: sampling step 4 of 8."),
        (run(phase=Phase.COMPARING, phase_done=0, phase_total=1), stored(), "Drawing pictures."),
        (run(state=RunState.PAUSED, phase="paused"), stored(), "Waiting: the run is paused."),
        (run(phase="scoring"), stored(), "Waiting for its turn: the run is scoring."),
        (run(state=RunState.STARTING), stored(), "Waiting for its turn: the run is starting."),
        (
            run(state=RunState.STOPPED, phase=Phase.COMPARING, phase_done=3, phase_total=8),
            stored(is_done=False),
            "The lab is loading the model and drawing the pictures; this takes a while. "
            "If the lab was closed in the meantime, press Compare to ask again.",
        ),
    ],
)
def test_progress_of_an_awaited_comparison(run_row, comparison, words):
    assert asking.progress(run_row, comparison) == words


@pytest.mark.parametrize(("choice", "step"), [("now", None), ("25", 25)])
def test_a_wish_is_read_from_the_controls(choice, step):
    assert asking.wish(7, choice, 60.0, 0) == (7, step, 60, 0)


@pytest.mark.parametrize(
    ("controls", "message"),
    [
        ((None, "now", 60, 0), "Nothing is chosen to compare"),
        (("typed by hand", "now", 60, 0), "Nothing is chosen to compare"),
        ((1, "typed by hand", 60, 0), "Nothing is chosen to compare"),
        ((1, None, 60, 0), "Choose a run that is live or has a checkpoint"),
        ((1, "now", None, 0), "Held-out prompts must be a whole number from 1 to 10000, got nothing"),
        ((1, "now", 2.5, 0), r"Held-out prompts .* got 2\.5"),
        ((1, "now", 0, 0), "Held-out prompts .* got 0"),
        ((1, "now", float("nan"), 0), "Held-out prompts .* got nan"),
        ((1, "now", "many", 0), "Held-out prompts .* got 'many'"),
        ((1, "now", 60, 2**31), "Seed must be a whole number from 0 to 2147483647"),
        ((1, "now", 60, float("inf")), "Seed .* got inf"),
    ],
)
def test_a_wish_out_of_range_names_the_control(controls, message):
    with pytest.raises(ConfigError, match=message):
        asking.wish(*controls)


@pytest.mark.parametrize(
    ("controls", "asked", "words"),
    [
        ((None, None), Drawing(), []),
        ((0, 0), Drawing(), []),
        ((4.5, None), Drawing(guidance_scale=4.5), ["guidance 4.5"]),
        ((None, 1), Drawing(num_sampling_steps=1), ["1 sampling step"]),
        ((1, 40.0), Drawing(guidance_scale=1.0, num_sampling_steps=40), ["guidance 1", "40 sampling steps"]),
    ],
)
def test_guidance_and_steps_are_the_runs_own_where_their_controls_are_empty_or_0(controls, asked, words):
    assert asking.drawing(*controls) == asked
    assert views.drawing_in_words(asked) == words


@pytest.mark.parametrize(
    ("controls", "message"),
    [
        ((0.5, None), "rollout.guidance_scale must be 1 to 20, got 0.5."),
        ((float("nan"), None), "rollout.guidance_scale must be a number, got nan. Allowed: 1 to 20."),
        (("much", None), "rollout.guidance_scale must be a number, got 'much'"),
        ((None, 101), "rollout.num_sampling_steps must be 1 to 100, got 101."),
        ((None, 2.5), r"rollout.num_sampling_steps must be a whole number, got 2\.5"),
    ],
)
def test_guidance_or_steps_out_of_range_name_the_setting(controls, message):
    with pytest.raises(ConfigError, match=message):
        asking.drawing(*controls)


def test_a_comparison_drawn_otherwise_than_its_run_says_so():
    drawing = Drawing(guidance_scale=4.5, num_sampling_steps=40)
    pairing = views.Pairing((pair(0.5, 0.5),), num_alone=0)
    assert views.summary(pairing, drawing).splitlines()[1:] == [
        "Both sides were drawn with guidance 4.5 and 40 sampling steps."
    ]
    ((name, _),) = asking.comparison_choices([stored(drawing=drawing)], [run()])
    assert name == "run 1 · step 25 · 60 prompts, seed 0, guidance 4.5, 40 sampling steps · 2025-01-02 03:04"


def test_no_run_and_no_comparison_each_say_what_to_press():
    assert "Train tab" in asking.advice([])
    assert "press Compare" in asking.advice([run()])
