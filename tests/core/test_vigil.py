"""The watch over what is never trained on: alone with known numbers, and in whole runs."""

import json
from dataclasses import replace

import numpy as np
import pytest
from small_model import PROMPTS
from small_run import Listener, run, small_config, small_parts

from dgpo_core.events import EvaluationDone, Examined, Phase, PhaseChanged, ScoredGroup, ScoredSample, Stop, Warned
from dgpo_core.group_window import AGREEMENT, DIVERSITY, diversity_within
from dgpo_core.rewards.contract import Judgement
from dgpo_core.vigil import GROUPS_PER_LOOK, Vigil, moved

RISING, FALLING = np.linspace(0.4, 0.6, 8), np.linspace(0.9, 0.7, 8)
ORDERS = {1.0: (1, 2, 3, 4), 1 / 3: (1, 3, 4, 2), -1 / 3: (2, 4, 3, 1)}
"""How people order four pictures whose rewards rise, by how far the two agree."""


def watch(**sections):
    return Vigil(small_config(**sections))


def seen(step, scores, watched=None):
    def pictures(values):
        return tuple(
            Examined(prompt=f"p{index}", category="all", seed=index, score=float(value), details="", png=b"%d" % index)
            for index, value in enumerate(values)
        )

    done = EvaluationDone(
        step=step, policy="averaged", score=float(np.mean(scores)), quality=(), samples=pictures(scores)
    )
    return done, {name: pictures(values) for name, values in (watched or {}).items()}


def show(vigil, *, diversity=0.2, tau=None, reward=0.5, count=1):
    """Has groups of four seen: so different, people and reward agreeing so far, the reward being that or a bit less."""
    for number in range(count):
        mean = reward - 0.01 * (number % 2)
        samples = tuple(
            ScoredSample(
                member=member,
                seed=member,
                png=b"%d/%d" % (number, member),
                reward=mean + 0.1 * (member - 1.5),
                terms=(("people", float(ORDERS[tau][member])), ("reward", mean + 0.1 * (member - 1.5))) if tau else (),
                advantage=0.0,
            )
            for member in range(4)
        )
        group = ScoredGroup(
            index=0,
            prompt=f"group {number}",
            samples=samples,
            reward_mean=mean,
            reward_std=0.1,
            gate=0.5,
            has_preference=True,
        )
        shades = (0, round(510 * diversity)) * 2
        vigil.see_groups([group], [np.full((4, 4, 3), shade, np.uint8) for shade in shades])


@pytest.mark.parametrize(
    ("after", "sign"),
    [([1.0, 2.0, 3.0, 4.1], 0), ([2, 3, 4, 5], 1), ([0, 1, 2, 3], -1), ([5, 2, 3, 0], 0), ([9, None, None, None], 0)],
)
def test_moved_is_more_than_two_standard_errors_of_the_pairs(after, sign):
    assert moved([1.0, 2.0, 3.0, 4.0], after) == sign


def test_a_watched_reward_that_falls_while_the_score_rises_is_an_alarm_with_the_guilty_pictures():
    vigil = watch()
    assert vigil.see_examination(*seen(0, RISING, {"clip": FALLING})) == []
    lost = FALLING - np.array([0.1, 0.5, 0.1, 0.1, 0.3, 0.1, 0.1, 0.1])
    [alarm] = vigil.see_examination(*seen(5, RISING + 0.2, {"clip": lost}))
    assert alarm.message.startswith(
        "The reward may be gamed: the held-out score rose from 0.5 to 0.7 since step 0, "
        "while clip fell from 0.8 to 0.625."
    )
    assert [one.prompt for one in alarm.guilty[:2]] == ["p1", "p4"]
    assert alarm.guilty[0].details == "0.871 before, 0.371 now"


@pytest.mark.parametrize(
    ("scores", "watched"),
    [(RISING, FALLING - 0.2), (RISING - 0.2, FALLING - 0.2), (RISING + 0.2, FALLING), (RISING + 0.2, FALLING + 0.1)],
)
def test_a_watched_reward_is_no_alarm_unless_the_score_rises_and_it_falls(scores, watched):
    vigil = watch()
    vigil.see_examination(*seen(0, RISING, {"clip": FALLING}))
    alarms = vigil.see_examination(*seen(5, scores, {"clip": watched}))
    assert not [one for one in alarms if "clip" in one.message]


def test_an_examination_without_a_score_is_not_what_later_ones_are_compared_with():
    vigil = watch()
    done, watched = seen(0, RISING, {"clip": FALLING})
    unjudged = replace(done, score=None, samples=tuple(replace(one, score=None) for one in done.samples))
    assert vigil.see_examination(unjudged, watched) == []
    assert vigil.see_examination(*seen(5, RISING, {"clip": FALLING})) == []
    assert len(vigil.see_examination(*seen(10, RISING + 0.2, {"clip": FALLING - 0.2}))) == 1


def test_a_score_that_falls_from_its_best_is_an_alarm_with_the_pictures_that_lost_most():
    vigil, more = watch(), np.linspace(0.2, 0.4, 8)
    for step, scores in ((0, RISING), (5, RISING + more), (10, RISING)):
        alarms = vigil.see_examination(*seen(step, scores))
        assert len(alarms) == (step == 10)
    assert alarms[0].message.startswith("The held-out score fell from 0.8 at step 5 to 0.5. ")
    assert [one.prompt for one in alarms[0].guilty[:2]] == ["p7", "p6"]
    assert alarms[0].guilty[0].details == "1 before, 0.6 now"


def test_a_score_below_its_best_is_said_once_until_it_is_back_and_by_more_than_chance():
    vigil, noise = watch(), np.linspace(-1, 1, 8)
    changes = (0.0, 0.5, 0.3 + noise, 0.1, 0.0, 0.5, 0.1, 0.6)
    counts = [len(vigil.see_examination(*seen(step, RISING + change))) for step, change in enumerate(changes)]
    assert counts == [0, 0, 0, 1, 0, 0, 1, 0]


@pytest.mark.parametrize(("fall", "num_pictures"), [(0.01, 8), (0.2, 7)])
def test_a_tiny_fall_and_one_of_few_pictures_are_no_alarm(fall, num_pictures):
    vigil = watch()
    vigil.see_examination(*seen(0, RISING[:num_pictures]))
    assert vigil.see_examination(*seen(5, RISING[:num_pictures] - fall)) == []


@pytest.mark.parametrize("kept", [slice(1, None), slice(None, None, -1)])
def test_examinations_of_other_prompts_are_not_compared(kept):
    vigil = watch()
    vigil.see_examination(*seen(0, RISING, {"clip": FALLING}))
    done, watched = seen(5, RISING - 0.3, {"clip": FALLING - 0.2})
    others = replace(done, samples=done.samples[kept])
    assert vigil.see_examination(others, watched) == []
    lower = replace(others, samples=tuple(replace(one, score=one.score - 0.2) for one in others.samples))
    assert len(vigil.see_examination(replace(lower, score=0.0), watched)) == (len(others.samples) >= 8)


def test_a_run_that_goes_on_remembers_its_best_score():
    vigil = watch()
    vigil.see_examination(*seen(0, RISING))
    vigil.see_examination(*seen(5, RISING + 0.3))
    later = watch()
    later.take_up(json.loads(json.dumps(vigil.as_values())))
    assert len(later.see_examination(*seen(10, RISING + 0.1))) == 1


def test_a_checkpoint_from_before_the_best_was_kept_goes_on_with_the_first():
    vigil = watch()
    vigil.see_examination(*seen(0, RISING))
    values = vigil.as_values()
    del values["best"]
    later = watch()
    later.take_up(values)
    assert len(later.see_examination(*seen(5, RISING - 0.1))) == 1


def test_a_fall_is_said_once_and_again_after_a_recovery():
    vigil = watch()
    vigil.see_examination(*seen(0, RISING, {"clip": FALLING}))
    counts = [
        len(vigil.see_examination(*seen(step, RISING + 0.2, {"clip": FALLING + change})))
        for step, change in enumerate((-0.2, -0.3, 0.0, -0.2), start=1)
    ]
    assert counts == [1, 0, 0, 1]


@pytest.mark.parametrize(
    ("name", "before", "after", "num_alarms"),
    [
        (DIVERSITY, {"diversity": 0.2}, {"diversity": 0.15}, 1),
        (DIVERSITY, {"diversity": 0.2}, {"diversity": 0.17}, 0),
        (AGREEMENT, {"tau": 1.0}, {"tau": 1 / 3}, 1),
        (AGREEMENT, {"tau": 1 / 3}, {"tau": 1.0}, 0),
    ],
)
def test_numbers_of_the_groups_are_watched_from_when_they_are_first_known(name, before, after, num_alarms):
    vigil = watch()
    vigil.see_examination(*seen(0, RISING))
    show(vigil, **before)
    assert vigil.see_examination(*seen(1, RISING + 0.1)) == []
    show(vigil, **after)
    alarms = vigil.see_examination(*seen(2, RISING + 0.2))
    assert len(alarms) == num_alarms
    if alarms:
        assert f"while {name} fell from" in alarms[0].message
        assert {one.category for one in alarms[0].guilty} == {name}


def test_what_fell_among_groups_is_shown_by_the_group_that_has_the_least_of_it():
    vigil = watch()
    vigil.see_examination(*seen(0, RISING))
    show(vigil, tau=1.0)
    vigil.see_examination(*seen(1, RISING))
    show(vigil, tau=1 / 3)
    show(vigil, tau=-1 / 3, reward=0.25)
    [alarm] = vigil.see_examination(*seen(2, RISING + 0.2))
    assert [(one.seed, one.score, one.details) for one in alarm.guilty] == [
        (3, pytest.approx(0.4), "people's agreement of its group -0.333, people 1, reward 0.4"),
        (2, pytest.approx(0.3), "people's agreement of its group -0.333, people 3, reward 0.3"),
        (1, pytest.approx(0.2), "people's agreement of its group -0.333, people 4, reward 0.2"),
        (0, pytest.approx(0.1), "people's agreement of its group -0.333, people 2, reward 0.1"),
    ]


def test_the_training_reward_that_rises_is_a_rise_where_the_heldout_score_stands_still():
    vigil = watch()
    vigil.see_examination(*seen(0, RISING, {"clip": FALLING}))
    show(vigil, reward=0.5, count=8)
    assert vigil.see_examination(*seen(5, RISING, {"clip": FALLING - 0.2})) == []
    show(vigil, reward=0.7, count=8)
    [alarm] = vigil.see_examination(*seen(10, RISING, {"clip": FALLING - 0.2}))
    assert alarm.message.startswith(
        "The reward may be gamed: the training reward rose from 0.495 to 0.695 since the first groups, "
        "while clip fell from 0.8 to 0.6."
    )


@pytest.mark.parametrize(("reward", "count"), [(0.5, 8), (0.3, 8), (0.501, 8), (0.9, 1)])
def test_a_training_reward_that_may_have_risen_by_chance_is_no_rise(reward, count):
    vigil = watch()
    vigil.see_examination(*seen(0, RISING, {"clip": FALLING}))
    show(vigil, count=count)
    vigil.see_examination(*seen(5, RISING, {"clip": FALLING}))
    show(vigil, reward=reward, count=count)
    assert vigil.see_examination(*seen(10, RISING, {"clip": FALLING - 0.2})) == []


@pytest.mark.parametrize(
    ("sections", "tau", "num_alarms"),
    [
        ({"reward": {"train": "brightness*0.5"}}, None, 0),
        ({"reward": {"train": "brightness + shapes_partial"}}, None, 0),
        ({"people": {"weight": 0.5}}, None, 0),
        ({"people": {"weight": 0.5}}, 1.0, 1),
    ],
)
def test_a_reward_that_is_brought_to_mean_0_in_each_group_never_counts_as_risen(sections, tau, num_alarms):
    vigil = watch(**sections)
    vigil.see_examination(*seen(0, RISING, {"clip": FALLING}))
    show(vigil, tau=tau, count=8)
    vigil.see_examination(*seen(5, RISING, {"clip": FALLING}))
    show(vigil, tau=tau, reward=0.7, count=8)
    assert len(vigil.see_examination(*seen(10, RISING, {"clip": FALLING - 0.2}))) == num_alarms


def test_without_examinations_groups_are_looked_at_once_there_are_enough():
    vigil = watch()
    show(vigil, count=GROUPS_PER_LOOK)
    assert vigil.look() == []
    show(vigil, reward=0.7, diversity=0.1, count=GROUPS_PER_LOOK - 1)
    assert vigil.look() == []
    show(vigil, reward=0.7, diversity=0.05)
    [alarm] = vigil.look()
    assert alarm.message.startswith(
        "The reward may be gamed: the training reward rose from 0.495 to 0.695 since the first groups, "
        "while in-group diversity fell from 0.2 to 0.0992."
    )
    assert {one.details for one in alarm.guilty} == {"in-group diversity of its group 0.051"}
    show(vigil, reward=0.7, diversity=0.1, count=GROUPS_PER_LOOK)
    assert vigil.look() == []
    assert vigil.numbers()[DIVERSITY] == pytest.approx((60 * 0.2 + 119 * 0.1 + 0.051) / 180, abs=1e-4)


def test_a_watch_that_is_taken_up_goes_on_as_if_it_had_never_ended():
    straight, saved = watch(), {}
    told = []
    for step, change in enumerate((0.0, -0.2, -0.3, 0.0, -0.2)):
        rise = 0.2 if step in (1, 2) else 0.0
        taken_up = watch()
        taken_up.take_up(json.loads(json.dumps(saved)))
        assert taken_up.has_baseline == (step > 0)
        for vigil in (straight, taken_up):
            show(vigil, diversity=0.2 - step / 30, reward=0.5 + step / 10, count=4)
        sight = seen(step, RISING + rise, {"clip": FALLING + change})
        told.append((straight.see_examination(*sight), taken_up.see_examination(*sight)))
        saved = taken_up.as_values()
    assert [one for one, _ in told] == [other for _, other in told]
    assert [len(one) for one, _ in told] == [0, 1, 1, 1, 1]


@pytest.mark.parametrize("evaluate_every", [0, 25])
def test_groups_seen_before_a_run_was_saved_count_after_it(evaluate_every):
    straight, resumed = (watch(schedule={"evaluate_every": evaluate_every}) for _ in range(2))
    show(straight, diversity=0.5, count=20)
    resumed.take_up(json.loads(json.dumps(straight.as_values())))
    for vigil in (straight, resumed):
        show(vigil, diversity=0.2, count=40)
    assert resumed.numbers() == straight.numbers()
    assert straight.look() == resumed.look() == []
    for vigil in (straight, resumed):
        show(vigil, diversity=0.1, reward=0.9, count=60)
    told, told_too = straight.look(), resumed.look()
    assert [one.message for one in told] == [one.message for one in told_too]
    assert len(told) == 1


def test_a_watch_saved_before_the_training_reward_was_watched_is_taken_up():
    vigil, older = watch(), watch()
    vigil.see_examination(*seen(0, RISING, {"clip": FALLING}))
    older.take_up({name: value for name, value in vigil.as_values().items() if name != "first_reward"})
    assert len(older.see_examination(*seen(5, RISING + 0.2, {"clip": FALLING - 0.2}))) == 1


def test_groups_are_measured_and_forgotten():
    vigil = watch()
    show(vigil, diversity=0.5, tau=1.0)
    show(vigil, diversity=0.0, tau=-1 / 3)
    assert vigil.numbers() == {DIVERSITY: pytest.approx(0.25), AGREEMENT: pytest.approx(1 / 3)}
    vigil.see_examination(*seen(0, RISING))
    assert vigil.numbers() == {}
    assert diversity_within([np.full((4, 4, 3), shade, np.uint8) for shade in (0, 255, 0, 255)]) == pytest.approx(0.5)


class Drifting:
    """Scores that rise, or fall, by a tenth each time it is asked."""

    def __init__(self, sign):
        self._sign, self._num_asked = sign, 0

    def check_prompts(self, prompts):
        pass

    def __call__(self, pictures, prompts):
        self._num_asked += 1
        return [Judgement(index / 100 + self._sign * self._num_asked / 10) for index in range(len(pictures))]


def stopping_when_paused(listener):
    """Commands of a person who stops a run once it has paused."""

    def next_command():
        is_paused = any(isinstance(one, PhaseChanged) and one.phase is Phase.PAUSED for one in listener.events)
        return Stop() if is_paused else None

    return next_command


def watched_run(model, folder, on_alarm, listener=None):
    """A run whose score rises while what is watched, on prompts of its own, falls."""
    config = small_config(
        reward={"train": "brightness", "evaluation": "brightness", "on_alarm": on_alarm},
        schedule={"num_steps": 4, "evaluate_every": 2},
    )
    parts = small_parts(model, folder, config, judge=Drifting(1))
    examiner = replace(parts.examiner, watched={"clip": Drifting(-1)}, watch_prompts=PROMPTS[:5])
    return run(config, replace(parts, examiner=examiner), listener=listener)


def test_a_run_draws_the_watched_beside_the_score_and_raises_the_alarm(model, tmp_path):
    _, heard = watched_run(model, tmp_path, "warn")
    first, *_, last = heard.of(EvaluationDone)
    assert last.score > first.score
    assert [dict(one.quality)["clip (watched)"] for one in heard.of(EvaluationDone)] == pytest.approx(
        [-0.08, -0.18, -0.28]
    )
    assert dict(last.quality)[DIVERSITY] > 0
    alarms = [event for event in heard.of(Warned) if "may be gamed" in event.message]
    assert [event.step for event in alarms] == [2]
    assert {one.category for one in alarms[0].samples} == {"clip"}
    assert {one.prompt for one in alarms[0].samples} <= set(PROMPTS[:5])


def test_an_alarm_may_pause_the_run(model, tmp_path):
    listener = Listener()
    listener.next_command = stopping_when_paused(listener)
    watched_run(model, tmp_path, "pause", listener)
    assert any("may be gamed" in event.message for event in listener.of(Warned))
    assert any(one.phase is Phase.PAUSED for one in listener.of(PhaseChanged))


def test_a_run_without_examinations_pauses_at_the_alarm_and_not_at_its_end(model, tmp_path):
    def people(step):
        agreeing = (0.0, 1.0) if step < 3 else (1.0, 0.0)
        return dict.fromkeys(range(GROUPS_PER_LOOK // 3), agreeing)

    config = small_config(
        reward={"train": "brightness", "on_alarm": "pause"},
        people={"weight": 0.5},
        rollout={"groups_per_step": GROUPS_PER_LOOK // 3, "group_size": 2},
        schedule={"num_steps": 8, "evaluate_every": 0},
    )
    parts = replace(small_parts(model, tmp_path, config, reward=Drifting(1)), people=people)
    listener = Listener()
    listener.next_command = stopping_when_paused(listener)
    run(config, parts, listener=listener)
    [alarm] = [event for event in listener.of(Warned) if "may be gamed" in event.message]
    assert f"while {AGREEMENT} fell from 1 to -1" in alarm.message
    assert (alarm.step, len(alarm.samples)) == (6, 2)
    assert [event.step for event in listener.of(PhaseChanged) if event.phase is Phase.PAUSED] == [6]
