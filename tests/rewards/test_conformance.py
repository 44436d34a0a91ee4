"""What holds for every reward in the catalogue."""

import re
from dataclasses import fields
from io import BytesIO
from math import isfinite

import numpy as np
import pytest
import torch
from documented_range import keeps_to_its_range
from PIL import Image
from project_tree import text_of

from dgpo_core.config import RewardConfig
from dgpo_core.data.prompts import load_prompts
from dgpo_core.data.requests import parse_request, picture_of
from dgpo_core.data.scenes import draw
from dgpo_core.errors import PromptError, RewardError
from dgpo_core.reward_names import REWARD_FACTS, REWARD_NAMES
from dgpo_core.rewards.catalogue import REWARDS, new_reward
from dgpo_core.rewards.contract import judge
from dgpo_core.rewards.image_statistics import STATISTICS, blurred
from dgpo_core.rewards.self_test import self_test

PROMPTS = load_prompts("shapes-heldout")[:30]
AT_HAND = [name for name, facts in REWARD_FACTS.items() if facts.is_light and not facts.needs_labels]
"""Rewards that need nothing beside the lab itself."""


@pytest.fixture(scope="module")
def pictures():
    """Pictures true to their prompts, and some that no base model would draw."""
    rng = np.random.default_rng(0)
    drawn = [np.round(draw(picture_of(parse_request(prompt), rng)) * 255).astype(np.uint8) for prompt in PROMPTS]
    noise = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(2)]
    flat = [np.full((64, 64, 3), value, np.uint8) for value in (0, 128, 255)]
    large = [np.repeat(np.repeat(drawn[0], 4, axis=0), 4, axis=1), drawn[1][:40, :50]]
    return [*drawn[:-7], *noise, *flat, *large]


@pytest.mark.parametrize("name", AT_HAND)
def test_every_picture_gets_one_finite_number_or_no_opinion(pictures, name):
    judgements = new_reward(name)(pictures, PROMPTS)
    assert len(judgements) == len(pictures)
    for judgement in judgements:
        assert judgement.reward is None or (isinstance(judgement.reward, float) and isfinite(judgement.reward))
        assert all(isinstance(term, str) and isfinite(value) for term, value in judgement.terms)
        assert judgement.details


@pytest.mark.parametrize("name", AT_HAND)
def test_a_batch_is_judged_as_one_by_one_and_again_as_before(pictures, name):
    reward = new_reward(name)
    together = reward(pictures, PROMPTS)
    assert together == [reward([picture], [prompt])[0] for picture, prompt in zip(pictures, PROMPTS, strict=True)]
    backwards = new_reward(name)(pictures[::-1], PROMPTS[::-1])
    assert together == backwards[::-1]


@pytest.mark.parametrize("name", AT_HAND)
def test_nothing_handed_in_is_changed_and_no_global_generator_is_used(pictures, name):
    copies, prompts = [picture.copy() for picture in pictures], list(PROMPTS)
    for picture in pictures:
        picture.flags.writeable = False
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    new_reward(name)(pictures, prompts)
    assert all(np.array_equal(one, other) for one, other in zip(pictures, copies, strict=True))
    assert prompts == PROMPTS
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


@pytest.mark.parametrize("name", AT_HAND)
def test_rewards_tell_pictures_apart(pictures, name):
    assert len({judgement.reward for judgement in judge(new_reward(name), pictures, PROMPTS)}) > 1


@pytest.mark.parametrize("name", AT_HAND)
def test_no_picture_is_no_judgement(name):
    assert judge(new_reward(name), [], []) == []


@pytest.mark.parametrize("name", AT_HAND)
def test_prompts_that_can_be_judged_pass_the_check(name):
    new_reward(name).check_prompts(load_prompts("shapes-train"))


@pytest.mark.parametrize("name", ["shapes_partial", "shapes_strict"])
def test_a_prompt_that_cannot_be_judged_is_named_beforehand(name):
    with pytest.raises(PromptError, match="cannot read the prompt 'a horse'"):
        new_reward(name).check_prompts(["a ring", "a horse", "a cow"])


@pytest.mark.parametrize("name", STATISTICS)
def test_a_statistic_takes_any_prompt(pictures, name):
    new_reward(name).check_prompts(["a horse", "", "<b>"])
    reward = new_reward(name)
    assert reward(pictures[:1], ["a horse"]) == reward(pictures[:1], ["a ring"])


@pytest.mark.parametrize("name", AT_HAND)
def test_a_reward_tells_its_known_good_pictures_from_its_known_bad_ones(name):
    outcome = self_test(new_reward(name))
    assert outcome.passed, outcome.words
    assert outcome.words.startswith(f"{name} puts 1 of 1 good pictures above their bad counterparts (")


@pytest.mark.parametrize("name", AT_HAND)
def test_rewards_keep_to_their_documented_range(pictures, name):
    assert keeps_to_its_range(name, [judgement.reward for judgement in new_reward(name)(pictures, PROMPTS)])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("brightness", "0 to 1"),
        ("incompressibility", "0 and up"),
        ("compressibility", "up to 0"),
        ("remote", "any number"),
        ("aesthetic", "any number, mostly 1 to 10"),
        ("pickscore", "-100 to 100, mostly about 20"),
    ],
)
def test_a_range_is_said_in_words(name, words):
    assert REWARD_FACTS[name].range == words


def test_the_page_of_rewards_says_the_range_that_the_lab_says():
    rows = [line.split("|")[1:4] for line in text_of("docs/rewards.md").splitlines() if line.startswith("| `")]
    said = {tuple(re.findall(r"`(\w+)`", names)): ranges.strip() for names, _, ranges in rows if "." not in names}
    said = {names: ranges for names, ranges in said.items() if names[0] in REWARD_FACTS}
    assert sorted(name for names in said for name in names) == sorted(REWARD_FACTS)
    assert said == {names: "; ".join(dict.fromkeys(REWARD_FACTS[name].range for name in names)) for names in said}


def test_an_unknown_reward_is_refused_with_those_there_are():
    with pytest.raises(RewardError, match=r"There is no reward 'best'\. Choose one of shapes_partial, shapes_strict, "):
        new_reward("best")


def test_the_settings_offer_exactly_the_catalogue():
    offered = {one.name: one.metadata["knob"].offers for one in fields(RewardConfig) if one.metadata["knob"].offers}
    assert offered == dict.fromkeys(("train", "evaluation", "watch"), tuple(REWARDS))
    assert tuple(REWARDS) == REWARD_NAMES


@pytest.mark.parametrize(
    ("color", "brightness", "colourfulness"),
    [
        ((0, 0, 0), 0.0, 0.0),
        ((255, 255, 255), 1.0, 0.0),
        ((128, 128, 128), 128 / 255, 0.0),
        ((255, 0, 0), 0.299, 0.785),
    ],
)
def test_statistics_of_plain_colours(color, brightness, colourfulness):
    picture = np.tile(np.array(color, np.uint8), (8, 8, 1))
    assert new_reward("brightness")([picture], [""])[0].reward == pytest.approx(brightness, abs=1e-9)
    # For one colour: 0.3 times the length of (R - G, (R + G) / 2 - B), over 109.
    assert new_reward("colourfulness")([picture], [""])[0].reward == pytest.approx(colourfulness, abs=1e-3)


def test_many_colours_are_more_colourful_than_few():
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(0, 256, (32, 32, 1), dtype=np.uint8), 3, axis=2)
    colours = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    pale = (colours // 4 + 96).astype(np.uint8)
    scores = [judgement.reward for judgement in new_reward("colourfulness")([grey, pale, colours], [""] * 3)]
    assert scores[0] == pytest.approx(0, abs=1e-12)
    assert scores[0] < scores[1] < scores[2]


@pytest.mark.parametrize("sigma", [0.5, 1, 2, 4])
def test_sharpness_falls_with_every_blur(sigma):
    noise = np.random.default_rng(1).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    picture = np.kron(noise[:6, :6], np.ones((8, 8, 1))).astype(np.uint8)
    values = [one.reward for one in new_reward("sharpness")([picture, blurred(picture, sigma)], [""] * 2)]
    assert values[0] > values[1] > 0


def test_symmetry_is_one_for_a_mirrored_picture_and_zero_for_its_opposite():
    left = np.random.default_rng(1).integers(0, 256, (16, 8, 3), dtype=np.uint8)
    opposite = np.concatenate([np.zeros_like(left), np.full_like(left, 255)], axis=1)
    mirrored = np.concatenate([left, left[:, ::-1]], axis=1)
    assert [one.reward for one in new_reward("symmetry")([mirrored, opposite], [""] * 2)] == [1, 0]


def test_compressibility_is_minus_the_size_that_pillow_writes():
    picture = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, format="JPEG", quality=95)
    size = len(buffer.getvalue()) / 1000
    assert new_reward("compressibility")([picture], [""])[0].reward == -size
    assert new_reward("incompressibility")([picture], [""])[0].reward == size
