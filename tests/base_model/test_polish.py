"""What the base is polished on, and how."""

from base_model.polish import FINE_CATEGORIES, fine_prompts, settings_of
from dgpo_core.data.prompts import load_prompts
from dgpo_core.data.requests import parse_request


def test_a_fine_polish_asks_for_what_comes_out_unclean(tmp_path):
    prompts = load_prompts(str(fine_prompts(tmp_path)))
    assert {parse_request(prompt).category for prompt in prompts} == set(FINE_CATEGORIES)
    assert set(prompts) < set(load_prompts("shapes-train"))


def test_a_fine_polish_falls_in_rate_and_a_first_one_does_not(tmp_path):
    first, fine = settings_of(tmp_path), settings_of(tmp_path, fine_prompts(tmp_path))
    assert first.update.decay_steps == 0 < fine.update.decay_steps
    assert first.update.averaged_decay < fine.update.averaged_decay
    assert {first.reward.train, fine.reward.train} == {"shapes_tidiness"}
