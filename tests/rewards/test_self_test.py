"""The self-test before a run: what it refuses, and that it says why."""

import numpy as np
import pytest
from judging_server import as_json, serving

from dgpo_core.errors import RewardError
from dgpo_core.rewards.contract import Judgement, Trial
from dgpo_core.rewards.mixture import Mixture, Part
from dgpo_core.rewards.remote import RemoteReward
from dgpo_core.rewards.self_test import Outcome, check_reward, self_test
from dgpo_core.rewards.server import Server
from dgpo_core.rewards.supplies import Supplies

LIGHT, DARK = (np.full((8, 8, 3), shade, np.uint8) for shade in (200, 20))


class Telling:
    """Gives the judgements it was made with, one after the other, for trials of its own where it has any."""

    name = "mine"

    def __init__(self, *judgements, num_trials=0):
        self._judgements, self._num_trials = list(judgements), num_trials

    def check_prompts(self, prompts):
        pass

    def __call__(self, pictures, prompts):
        return [self._judgements.pop(0) for _ in pictures]

    def trials(self):
        return [Trial(LIGHT, DARK, "")] * self._num_trials


@pytest.fixture
def gone():
    """A reward whose server is down, with trials or without."""
    with serving(lambda number, body: as_json({})) as asked:
        address = asked.url

    def reward(**kind):
        return RemoteReward(Supplies(server=address), Server(address, tries_again=0), **kind)

    return reward


def test_a_reward_without_trials_passes_when_it_answers():
    assert self_test(Telling(Judgement(0.5))) == Outcome(
        True, "mine answers (0.5) and names no pictures that it must tell apart"
    )


def test_no_opinion_that_has_no_reason_is_an_answer():
    """A person's own may well have none of a plain picture."""
    assert self_test(Telling(Judgement(None))) == Outcome(
        True, "mine answers (no opinion) and names no pictures that it must tell apart"
    )


def test_no_opinion_with_a_reason_fails_and_the_reason_is_said():
    assert self_test(Telling(Judgement(None, details="it is closed"))) == Outcome(
        False, "mine has no opinion on a plain picture: it is closed"
    )


def test_a_reward_without_trials_whose_server_is_down_is_refused_before_the_run(gone):
    with pytest.raises(RewardError, match=r"self-test failed: remote has no opinion.*http://127.* cannot be reached: "):
        check_reward(gone(), prompt="a", seconds=60)


def raising(pictures, prompts):
    raise ValueError("my file is gone")


def test_a_refusal_names_the_setting_that_leads_past_it(gone):
    for reward in (gone(), raising, Telling(Judgement(1.0), Judgement(2.0), num_trials=1)):
        with pytest.raises(RewardError, match=r"Where the self-test itself is wrong, set reward\.self_test to warn"):
            check_reward(reward, prompt="a", seconds=60)


def test_a_reward_that_raises_in_its_self_test_is_refused_with_what_it_raised():
    with pytest.raises(
        RewardError, match=r"^The self-test failed: The reward function failed with ValueError: my file"
    ):
        check_reward(raising, prompt="a", seconds=60)


def test_a_failure_that_only_warns_gives_the_words_of_the_warning(gone):
    def words(reward):
        return check_reward(reward, prompt="a", seconds=60, only_warns=True)

    assert words(Telling(Judgement(1.0), Judgement(2.0), num_trials=1)) == (
        "The self-test failed: mine puts 0 of 1 good pictures above their bad counterparts (1 against 2). The run goes "
        "on, as reward.self_test is warn. Look at what the reward says of pictures on the Rewards tab."
    )
    assert "remote has no opinion on a plain picture: http://127.0.0.1" in words(gone())
    assert "The reward function failed with ValueError: my file is gone." in words(raising)
    assert words(Telling(Judgement(0.5))) == ""


def test_the_reason_is_said_once_beside_the_numbers_of_the_trials():
    closed = Judgement(None, details="it is closed")
    assert self_test(Telling(Judgement(2.0), Judgement(1.0), closed, closed, num_trials=2)) == Outcome(
        False,
        "mine puts 1 of 2 good pictures above their bad counterparts (2 against 1, no opinion against no opinion: "
        "it is closed)",
        ((2.0, 1.0), (None, None)),
    )


def test_a_reward_with_trials_whose_server_is_down_says_so(gone):
    outcome = self_test(gone(name="hpsv3", trials=lambda: [Trial(LIGHT, DARK, "")]))
    assert not outcome.passed
    assert outcome.words.startswith(
        "hpsv3 puts 0 of 1 good pictures above their bad counterparts (no opinion against no opinion: http://127.0.0.1:"
    )
    assert "cannot be reached" in outcome.words


def test_each_part_of_a_mixture_is_tested(gone):
    mixture = Mixture([Part("mine", 1, Telling(Judgement(0.5))), Part("remote", 1, gone())])
    outcome = self_test(mixture)
    assert not outcome.passed
    assert outcome.words.startswith("mine answers (0.5) and names no pictures that it must tell apart; remote has no ")
