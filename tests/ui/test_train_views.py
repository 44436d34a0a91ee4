"""What the Train tab shows, from plain values."""

from dataclasses import replace

import pytest

from app.store.rows import AlarmRow, GroupRow, RunRow, RunState, SampleRow
from app.ui import train_views as views
from dgpo_core.events import Phase

RUN = RunRow(
    id=3,
    name="<b>mine</b>",
    state=RunState.RUNNING,
    created="2025-01-02T03:00:00Z",
    ended=None,
    config={},
    notes="",
    step=39,
    num_steps=100,
    phase="drawing groups",
    phase_done=3,
    phase_total=8,
    seconds_per_step=2.5,
    first_score=0.5,
    last_score=0.625,
    message="",
    details="",
)
URLS = {"ab" * 32: "a picture"}


def test_the_card_of_a_running_run():
    assert views.status_view(RUN, other_is_live=False, has_checkpoint=True) == {
        "id": 3,
        "name": "<b>mine</b>",
        "state": "running",
        "headline": "",
        "alarm": None,
        "phase": "drawing groups, sampling step 4 of 8",
        "phase_done": 3,
        "phase_total": 8,
        "steps_done": 40,
        "num_steps": 100,
        "seconds_left": 150.0,
        "seconds_per_step": 2.5,
        "first_score": 0.5,
        "last_score": 0.625,
        "message": "",
        "details": "",
        "created": "2025-01-02T03:00:00Z",
        "can": ["pause", "stop", "save", "sample"],
    }


@pytest.mark.parametrize(
    ("state", "on_alarm", "step", "is_told"),
    [
        (RunState.PAUSED, "pause", 40, True),
        (RunState.PAUSED, "pause", 39, False),
        (RunState.PAUSED, "warn", 40, False),
        (RunState.RUNNING, "pause", 40, False),
    ],
)
def test_a_pause_is_put_down_to_an_alarm_only_if_that_asked_for_it(state, on_alarm, step, is_told):
    run = replace(RUN, state=state, config={"reward": {"on_alarm": on_alarm}})
    alarm = AlarmRow(id=1, created="", step=step, message="my.py:judge fell to 0.5. Look.")
    card = views.status_view(run, other_is_live=False, has_checkpoint=True, alarm=alarm)
    assert card["headline"].startswith("Paused by the alarm") is is_told
    assert card["alarm"] == {"step": step, "words": "my.py:judge fell to 0.5."}


def test_there_is_no_card_without_a_run():
    assert views.status_view(None, other_is_live=False, has_checkpoint=False) is None


@pytest.mark.parametrize(
    ("state", "other_is_live", "can"),
    [
        (RunState.STARTING, False, ["stop"]),
        (RunState.RUNNING, False, ["pause", "stop", "save", "sample"]),
        (RunState.PAUSED, False, ["go_on", "stop", "save", "sample"]),
        (RunState.FINISHED, False, []),
        (RunState.STOPPED, False, ["resume"]),
        (RunState.FAILED, False, ["resume"]),
        (RunState.INTERRUPTED, False, ["resume"]),
        (RunState.STOPPED, True, []),
        (RunState.INTERRUPTED, True, []),
    ],
)
def test_only_what_can_work_is_offered(state, other_is_live, can):
    assert views.possible_actions(replace(RUN, state=state), other_is_live=other_is_live) == can


@pytest.mark.parametrize("state", list(RunState))
def test_an_ended_run_has_no_phase_and_only_a_running_one_an_end_in_sight(state):
    card = views.status_view(replace(RUN, state=state), other_is_live=False, has_checkpoint=True)
    assert bool(card["phase"]) is state.is_live
    assert (card["seconds_left"] is not None) is (state is RunState.RUNNING)


def test_the_time_left_is_not_guessed_before_the_first_step():
    assert views.seconds_left(replace(RUN, seconds_per_step=None)) is None


def test_an_interrupted_run_says_where_it_would_go_on():
    interrupted = replace(RUN, state=RunState.INTERRUPTED)
    assert views.headline(interrupted, has_checkpoint=True).endswith("It can go on from its last checkpoint.")
    assert views.headline(interrupted, has_checkpoint=False).endswith("Resumed, it starts over.")


@pytest.mark.parametrize(
    ("phase", "done", "total", "words"),
    [
        (Phase.SAMPLING, 0, 8, "drawing groups, sampling step 1 of 8"),
        (Phase.SAMPLING, 8, 8, "drawing groups, sampling step 8 of 8"),
        (Phase.EXAMINING, 2, 8, "examining on held-out prompts, sampling step 3 of 8"),
        (Phase.COMPARING, 2, 8, "comparing with the base, sampling step 3 of 8"),
        (Phase.UPDATING, 1, 4, "updating the policy, noise level 2 of 4"),
        (Phase.SCORING, 0, 1, "scoring"),
        ("", 0, 0, ""),
    ],
)
def test_a_phase_says_what_it_counts(phase, done, total, words):
    run = replace(RUN, phase=phase, phase_done=done, phase_total=total)
    assert views.phase_words(run) == words


@pytest.mark.parametrize(
    ("reward", "advantage", "has_preference", "side"),
    [
        (0.5, 0.1, True, "preferred"),
        (0.5, -0.1, True, "dispreferred"),
        (0.5, 0.0, True, "neutral"),
        (None, -0.1, True, "neutral"),
        (0.5, 0.1, False, "neutral"),
    ],
)
def test_a_picture_that_is_pulled_neither_way_is_on_neither_side(reward, advantage, has_preference, side):
    one = sample(0, reward, advantage)
    assert views.side(one, group(one, has_preference=has_preference)) == side


def sample(member, reward, advantage):
    return SampleRow(
        id=member,
        member=member,
        seed=2**63,
        sha="ab" * 32,
        reward=reward,
        terms=(("colour", 0.5),),
        advantage=advantage,
    )


def group(*samples, has_preference=True):
    return GroupRow(
        id=1,
        step=7,
        index=0,
        prompt="${x} <i>",
        reward_mean=1 / 3,
        reward_std=float("nan"),
        gate=0.5,
        has_preference=has_preference,
        samples=samples,
    )


def test_the_wall_shares_one_axis_over_all_rewards_and_keeps_text_and_large_seeds_as_they_are():
    groups = [group(sample(0, 0.75, 1.0), sample(1, None, 0.0)), group(sample(2, -0.25, -1.0), has_preference=False)]
    wall = views.wall_view(RUN, groups, URLS, step=7)
    assert {key: wall[key] for key in ("run", "step", "latest", "low", "high")} == {
        "run": 3,
        "step": 7,
        "latest": 39,
        "low": -0.25,
        "high": 0.75,
    }
    assert wall["groups"][0] == {
        "index": 0,
        "prompt": "${x} <i>",
        "mean": 0.33333,
        "std": None,
        "gate": 0.5,
        "has_preference": True,
        "samples": [
            {
                "member": 0,
                "seed": "9223372036854775808",
                "url": "a picture",
                "reward": 0.75,
                "advantage": 1.0,
                "side": "preferred",
                "terms": [["colour", 0.5]],
            },
            {
                "member": 1,
                "seed": "9223372036854775808",
                "url": "a picture",
                "reward": None,
                "advantage": 0.0,
                "side": "neutral",
                "terms": [["colour", 0.5]],
            },
        ],
    }


def test_a_wall_without_any_reward_still_has_an_axis():
    wall = views.wall_view(RUN, [group(sample(0, None, 0.0))], URLS, step=7)
    assert (wall["low"], wall["high"]) == (0.0, 1.0)
