"""The watch over what is never trained on: alone with known numbers, and in whole runs."""

import json
from dataclasses import replace

import numpy as np
import pytest
from small_model import PROMPTS
from small_run import Listener, run, small_config, small_parts

from dgpo_core.events import EvaluationDone, Examined, Phase, PhaseChanged, Stop, Warned
from dgpo_core.rewards.contract import Judgement
from dgpo_core.vigil import AGREEMENT, DIVERSITY, Vigil, diversity_within, moved

RISING, FALLING = np.linspace(0.4, 0.6, 8), np.linspace(0.9, 0.7, 8)


def seen(step, scores, watched=None, numbers=None):
    def pictures(values):
        return tuple(
            Examined(prompt=f"p{index}", category="all", seed=index, score=float(value), details="", png=b"%d" % index)
            for index, value in enumerate(values)
        )

    done = EvaluationDone(
        step=step, policy="averaged", score=float(np.mean(scores)), quality=(), samples=pictures(scores)
    )
    return done, {name: pictures(values) for name, values in (watched or {}).items()}, numbers or {}


@pytest.mark.parametrize(
    ("after", "sign"),
    [([1.0, 2.0, 3.0, 4.1], 0), ([2, 3, 4, 5], 1), ([0, 1, 2, 3], -1), ([5, 2, 3, 0], 0), ([9, None, None, None], 0)],
)
def test_moved_is_more_than_two_standard_errors_of_the_pairs(after, sign):
    assert moved([1.0, 2.0, 3.0, 4.0], after) == sign


def test_a_watched_reward_that_falls_while_the_score_rises_is_an_alarm_with_the_guilty_pictures():
    vigil = Vigil()
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
def test_no_alarm_unless_the_score_rises_and_the_other_falls(scores, watched):
    vigil = Vigil()
    vigil.see_examination(*seen(0, RISING, {"clip": FALLING}))
    assert vigil.see_examination(*seen(5, scores, {"clip": watched})) == []


def test_a_fall_is_said_once_and_again_after_a_recovery():
    vigil = Vigil()
    vigil.see_examination(*seen(0, RISING, {"clip": FALLING}))
    counts = [
        len(vigil.see_examination(*seen(step, RISING + 0.2, {"clip": FALLING + change})))
        for step, change in enumerate((-0.2, -0.3, 0.0, -0.2), start=1)
    ]
    assert counts == [1, 0, 0, 1]


@pytest.mark.parametrize(
    ("name", "values", "num_alarms"),
    [(DIVERSITY, (0.2, 0.15), 1), (DIVERSITY, (0.2, 0.17), 0), (AGREEMENT, (0.6, 0.3), 1), (AGREEMENT, (0.6, 0.5), 0)],
)
def test_numbers_of_the_groups_are_watched_from_when_they_are_first_known(name, values, num_alarms):
    vigil = Vigil()
    vigil.see_examination(*seen(0, RISING))
    assert vigil.see_examination(*seen(1, RISING + 0.1, numbers={name: values[0]})) == []
    alarms = vigil.see_examination(*seen(2, RISING + 0.2, numbers={name: values[1]}))
    assert len(alarms) == num_alarms
    if alarms:
        assert name in alarms[0].message
        assert alarms[0].guilty


def test_a_watch_that_is_taken_up_goes_on_as_if_it_had_never_ended():
    straight, saved = Vigil(), {}
    told = []
    for step, change in enumerate((0.0, -0.2, -0.3, 0.0, -0.2)):
        rise = 0.2 if step else 0.0
        taken_up = Vigil()
        taken_up.take_up(json.loads(json.dumps(saved)))
        sight = seen(step, RISING + rise, {"clip": FALLING + change}, {DIVERSITY: 0.2 - step / 30})
        assert taken_up.has_baseline == (step > 0)
        told.append((straight.see_examination(*sight), taken_up.see_examination(*sight)))
        saved = taken_up.as_values()
    assert [one for one, _ in told] == [other for _, other in told]
    assert [len(one) for one, _ in told] == [0, 1, 1, 0, 1]


def test_groups_are_measured_and_forgotten():
    shades = [np.full((4, 4, 3), shade, np.uint8) for shade in (0, 255, 0, 255, 100, 100, 100, 100)]
    agreeing = [
        Judgement(0.0, (("people", float(one)), ("reward", float(other))))
        for one, other in ((1, 1), (2, 2), (3, 3), (4, 4), (1, 4), (2, 3), (3, 2), (4, 1))
    ]
    vigil = Vigil()
    vigil.see_groups(shades, agreeing, 2)
    assert vigil.numbers() == {DIVERSITY: pytest.approx(0.25), AGREEMENT: pytest.approx(0)}
    assert vigil.numbers() == {}
    assert diversity_within(shades[:4]) == pytest.approx(0.5)


class Drifting:
    """Scores that rise, or fall, by a tenth each time it is asked."""

    def __init__(self, sign):
        self._sign, self._num_asked = sign, 0

    def check_prompts(self, prompts):
        pass

    def __call__(self, pictures, prompts):
        self._num_asked += 1
        return [Judgement(index / 100 + self._sign * self._num_asked / 10) for index in range(len(pictures))]


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

    def next_command():
        is_paused = any(isinstance(one, PhaseChanged) and one.phase is Phase.PAUSED for one in listener.events)
        return Stop() if is_paused else None

    listener.next_command = next_command
    watched_run(model, tmp_path, "pause", listener)
    assert any("may be gamed" in event.message for event in listener.of(Warned))
    assert any(one.phase is Phase.PAUSED for one in listener.of(PhaseChanged))
