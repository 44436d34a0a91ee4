"""Several rewards as one."""

from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dgpo_core.config import from_dict
from dgpo_core.errors import ConfigError, RewardError
from dgpo_core.reward_names import Share, only_reward, parse_mixture, parse_watched
from dgpo_core.rewards.catalogue import new_mixture, new_reward
from dgpo_core.rewards.contract import Judgement
from dgpo_core.rewards.mixture import Mixture, Part, standardised
from dgpo_core.rewards.supplies import Supplies

PICTURES = [np.full((8, 8, 3), shade, np.uint8) for shade in (0, 100, 200, 40, 80, 250)]
PROMPTS = ["a"] * 3 + ["b"] * 3


class Fixed:
    """Gives the rewards it was made with."""

    def __init__(self, *rewards):
        self._rewards = rewards

    def check_prompts(self, prompts):
        pass

    def __call__(self, pictures, prompts):
        return [Judgement(reward, details="seen") for reward in self._rewards[: len(pictures)]]


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("ocr", (Share("ocr"),)),
        ("brightness*0.7 + sharpness*0.3", (Share("brightness", 0.7), Share("sharpness", 0.3))),
        ("0.7*brightness+ sharpness", (Share("brightness", 0.7), Share("sharpness"))),
        ("brightness*1e-3 + symmetry * -2", (Share("brightness", 1e-3), Share("symmetry", -2.0))),
        ("mine:redness*2 + my folder/a.py:blue", (Share("mine:redness", 2.0), Share("my folder/a.py:blue"))),
    ],
)
def test_a_mixture_is_read(text, shares):
    assert parse_mixture(text, "here") == shares


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "here names the reward '', which does not exist. Allowed: shapes_partial, "),
        ("ocr + best", "here names the reward 'best', which does not exist"),
        ("ocr*0 + brightness", "gives ocr the weight '0'. It must be a number other than 0"),
        ("ocr*nan", "gives ocr the weight 'nan'"),
        ("ocr*1e999", "gives ocr the weight '1e999'"),
        ("ocr*x", "gives ocr the weight 'x'"),
        ("ocr + ocr*2", "here names ocr twice"),
        (" + ".join(["ocr"] * 13), "mixes 13 rewards; at most 12"),
    ],
)
def test_what_is_no_mixture_is_refused_and_the_setting_is_named(text, message):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        parse_mixture(text, "here")


def test_a_recipe_with_a_bad_reward_is_refused_when_it_is_read():
    with pytest.raises(ConfigError, match=r"reward\.train names the reward 'best'"):
        from_dict({"reward": {"train": "best"}})
    with pytest.raises(ConfigError, match=r"reward\.evaluation must be one reward without a weight"):
        from_dict({"reward": {"evaluation": "ocr + brightness"}})
    with pytest.raises(ConfigError, match=r"reward\.watch gives ocr a weight"):
        from_dict({"reward": {"watch": "brightness, ocr*2"}})


def test_watched_rewards_are_a_list():
    assert parse_watched(" brightness , mine.py:red,", "here") == ("brightness", "mine.py:red")
    assert parse_watched("", "here") == ()
    assert only_reward("mine.py:red", "here") == "mine.py:red"


def test_scales_do_not_decide():
    small, large = Fixed(0, 0.1, 0.2, 0, 0, 0.3), Fixed(200, 100, 0, 30, 10, 20)
    judged = Mixture([Part("small", 1, small), Part("large", 1, large)])(PICTURES, PROMPTS)
    assert [one.reward for one in judged[:3]] == pytest.approx([0, 0, 0], abs=1e-9)
    assert judged[0].terms == (("small", 0), ("large", 200))
    assert judged[0].details == "seen; seen"


def test_weights_decide():
    first, second = Fixed(1, 2, 3), Fixed(30, 20, 10)
    for weight, order in ((2, [0, 1, 2]), (0.5, [2, 1, 0])):
        judged = Mixture([Part("first", weight, first), Part("second", 1, second)])(PICTURES[:3], PROMPTS[:3])
        assert np.argsort([one.reward for one in judged]).tolist() == order


@pytest.mark.parametrize("silent", [None, float("nan"), float("inf")])
def test_a_picture_without_one_of_the_opinions_has_none_but_keeps_the_others(silent):
    judged = Mixture([Part("a", 1, Fixed(1, silent, 3)), Part("b", 1, Fixed(1, 2, 4))])(PICTURES[:3], PROMPTS[:3])
    assert [one.reward is None for one in judged] == [False, True, False]
    assert judged[1].terms == (("b", 2),)


def test_a_part_that_spoils_what_it_is_handed_changes_nothing_for_the_next():
    class Spoiling(Fixed):
        def __call__(self, pictures, prompts):
            for picture in pictures:
                picture[:] = 0
            prompts.clear()
            return super().__call__(pictures, prompts)

    seen = []

    class Watching(Fixed):
        def __call__(self, pictures, prompts):
            seen.append(([int(picture.max()) for picture in pictures], list(prompts)))
            return super().__call__(pictures, prompts)

    Mixture([Part("a", 1, Spoiling(*range(6))), Part("b", 1, Watching(*range(6)))])(PICTURES, PROMPTS)
    assert seen == [([0, 100, 200, 40, 80, 250], PROMPTS)]


def test_groups_of_a_prompt_that_a_step_draws_twice_are_standardised_apart():
    """Two groups of one prompt, the second far better in all its pictures."""
    reward = Fixed(0, 1, 2, 100, 101, 102)
    apart = Mixture([Part("a", 1, reward)], group_size=3)(PICTURES, ["a"] * 6)
    assert [one.reward for one in apart] == pytest.approx([-(1.5**0.5), 0, 1.5**0.5] * 2)
    together = Mixture([Part("a", 1, reward)])(PICTURES, ["a"] * 6)
    assert together[2].reward < 0 < together[3].reward


def test_pictures_that_are_no_whole_groups_are_compared_by_their_prompts():
    judged = Mixture([Part("a", 1, Fixed(0, 2, 10, 30))], group_size=3)(PICTURES[:4], ["a", "a", "b", "b"])
    assert [one.reward for one in judged] == pytest.approx([-1, 1, -1, 1])


def test_near_ties_are_not_blown_up():
    assert standardised([0.5, 0.5 + 2e-6], "aa") == [0, 0]
    assert standardised([0.5, 0.5 + 3e-4], "aa") == pytest.approx([-1, 1])
    assert standardised([0.5, 0.5], "aa") == [0, 0]
    assert standardised([7.0], "a") == [0]


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.sampled_from("ab")), min_size=1, max_size=30))
def test_standardised_rewards_have_mean_zero_and_spread_one_in_each_group(pairs):
    rewards, prompts = [one for one, _ in pairs], [prompt for _, prompt in pairs]
    result = standardised(rewards, prompts)
    for prompt in set(prompts):
        mine = [value for value, one in zip(result, prompts, strict=True) if one == prompt]
        assert np.mean(mine) == pytest.approx(0, abs=1e-5)
        given = np.std([value for value, one in zip(rewards, prompts, strict=True) if one == prompt])
        assume(abs(given - 1e-4) > 1e-6)
        assert np.std(mine) == pytest.approx(float(given > 1e-4), abs=1e-5)


def test_a_mixture_of_the_catalogue_judges():
    mixture = new_mixture("brightness*0.7 + colourfulness*0.3", "reward.train")
    judged = mixture(PICTURES, PROMPTS)
    assert [term for term, _ in judged[0].terms] == ["brightness", "colourfulness"]
    assert np.argsort([one.reward for one in judged[:3]]).tolist() == [0, 1, 2]
    assert new_mixture("brightness", "reward.train")(PICTURES, PROMPTS)[1].reward == pytest.approx(100 / 255)


def test_what_was_learned_from_labels_can_be_mixed_and_is_refused_where_it_is_not_at_hand():
    learned = new_reward("brightness")
    mixture = new_mixture(
        "preference*0.5 + colourfulness", "reward.train", partial(new_reward, supplies=Supplies(preference=learned))
    )
    assert mixture.parts[0].reward is learned
    with pytest.raises(RewardError, match=r"learned from labels.*Train, examine or watch with it"):
        new_mixture("preference", "The reward")
