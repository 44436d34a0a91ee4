"""What the base is polished on, and how its time is counted."""

import json
from types import SimpleNamespace

from base_model.polish import Clock, settings_of
from dgpo_core.config import from_dict
from dgpo_core.events import StepDone, Stop


def test_a_polish_looks_at_how_things_are_drawn_and_holds_on_to_what_they_are(tmp_path):
    polish, usual = settings_of(tmp_path), from_dict({})
    assert polish.reward.train == "shapes_tidiness"
    assert polish.loss.kl_weight > 0
    assert polish.loss.sigma_min < usual.loss.sigma_min  # edges and colours are decided at little noise


def test_time_is_up_after_so_many_minutes_of_steps_over_all_sittings(tmp_path):
    log = tmp_path / "polish.jsonl"
    for sitting in range(2):
        clock = Clock(log, minutes=2.0)
        assert clock.command() is None
        metrics = SimpleNamespace(step_seconds=60.0, reward_mean=0.5)
        clock.hear(StepDone(step=sitting, groups=(), metrics=metrics))
    assert isinstance(clock.command(), Stop)
    assert [json.loads(line)["minutes"] for line in log.read_text().splitlines()] == [1.0, 2.0]
