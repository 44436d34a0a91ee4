"""Networks of rewards come when they are needed and leave again."""

from dataclasses import replace
from multiprocessing.pool import ThreadPool
from threading import Event
from time import sleep

import pytest
import torch
from tiny_models import aesthetic_folder, clip_folder
from torch import nn

from dgpo_core.config import from_dict
from dgpo_core.errors import RewardError
from dgpo_core.reward_names import REWARD_FACTS
from dgpo_core.rewards.catalogue import new_mixture, new_reward
from dgpo_core.rewards.contract import judge
from dgpo_core.rewards.image_statistics import colour_trials
from dgpo_core.rewards.self_test import self_test
from dgpo_core.rewards.supplies import Supplies, supplies_of
from dgpo_core.rewards.visiting import Visiting

PICTURES = [trial.better for trial in colour_trials()]


class Judge(nn.Linear):
    """A network that remembers where it was sent."""

    def __init__(self):
        super().__init__(3, 1)
        self.sent = []

    def to(self, device):
        self.sent.append(device)
        return self


class ByNetwork:
    """A reward that loads its network with the first picture and fails when told to."""

    name = "by network"

    def __init__(self, supplies, failure=None):
        self.network, self._supplies, self._failure = None, supplies, failure

    def check_prompts(self, prompts):
        pass

    def __call__(self, pictures, prompts):
        self.network = self.network or self._supplies.settle(Judge())
        if self._failure:
            raise self._failure
        with torch.no_grad():
            return [float(self.network(torch.tensor(one).float().mean(dim=(0, 1)) / 255)) for one in pictures]


def test_a_network_is_on_the_device_while_it_judges_and_in_main_memory_otherwise():
    supplies = Supplies(device="the card", offloads=True)
    reward = ByNetwork(supplies)
    visiting = Visiting(reward, supplies)
    visiting(PICTURES, ["", ""])
    assert reward.network.sent == ["the card", "cpu"]
    visiting(PICTURES, ["", ""])
    assert reward.network.sent == ["the card", "cpu", "the card", "cpu"]
    assert not reward.network.training


def test_it_leaves_when_judging_fails():
    supplies = Supplies(device="the card", offloads=True)
    reward = ByNetwork(supplies, RuntimeError("too large"))
    with pytest.raises(RuntimeError, match="too large"):
        Visiting(reward, supplies)(PICTURES, ["", ""])
    assert reward.network.sent == ["the card", "cpu"]


def test_a_visit_waits_for_one_that_was_left_behind():
    supplies = Supplies(device="the card", offloads=True)
    may_end, moves = Event(), []

    class Slow(ByNetwork):
        def __call__(self, pictures, prompts):
            answer = super().__call__(pictures, prompts)
            moves.append(list(self.network.sent))
            may_end.wait(5)
            return answer

    visiting = Visiting(Slow(supplies), supplies)
    with ThreadPool(2) as pool:
        both = [pool.apply_async(visiting, (PICTURES, ["", ""])) for _ in range(2)]
        while not moves:
            sleep(0.01)
        sleep(0.1)
        assert len(moves) == 1
        may_end.set()
        assert both[0].get(5) == both[1].get(5)
    assert moves[1] == ["the card", "cpu", "the card"]


def test_a_visit_waits_for_another_reward_that_was_left_behind_with_the_same_network():
    supplies = Supplies(device="the card", offloads=True)
    network, may_end, judging = Judge(), Event(), []

    class Sharing(ByNetwork):
        def __call__(self, pictures, prompts):
            self.network = self.network or self._supplies.settle(network)
            judging.append(network.sent[-1])
            may_end.wait(5)
            return super().__call__(pictures, prompts)

    own = [replace(supplies, networks=[]) for _ in range(2)]
    with ThreadPool(2) as pool:
        both = [pool.apply_async(Visiting(Sharing(one), one), (PICTURES, ["", ""])) for one in own]
        while not judging:
            sleep(0.01)
        sleep(0.1)
        assert len(judging) == 1
        may_end.set()
        assert both[0].get(5) == both[1].get(5)
    assert judging == ["the card"] * 2
    assert network.sent[-1] == "cpu"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    clip_folder(folder / REWARD_FACTS["clipscore"].weights)
    aesthetic_folder(folder / REWARD_FACTS["aesthetic"].weights)
    return folder


def test_offloaded_rewards_judge_as_kept_ones_and_each_moves_only_its_own(models):
    text = "clipscore*0.5 + aesthetic"
    settings = [from_dict({"reward": {"models_folder": str(models), "models": how}}) for how in ("keep", "offload")]
    judged = []
    for config in settings:
        supplies = supplies_of(config, models, {})
        mixture = new_mixture(text, "here", lambda name, supplies=supplies: new_reward(name, supplies))
        judged.append(judge(mixture, PICTURES * 2, ["a red picture"] * 4))
        visiting = [isinstance(part.reward, Visiting) for part in mixture.parts]
        assert visiting == [config.reward.models == "offload"] * 2
    assert judged[0] == judged[1]
    first, second = (part.reward._supplies.networks for part in mixture.parts)
    assert [len(first), len(second)] == [1, 2]
    assert not {*map(id, first)} & {*map(id, second)}


def test_what_needs_no_network_does_not_visit_and_a_self_test_goes_through(models):
    supplies = Supplies(models_folder=str(models), offloads=True)
    assert not isinstance(new_reward("brightness", supplies), Visiting)
    assert self_test(new_reward("aesthetic", supplies)).words.startswith("aesthetic puts ")
    with pytest.raises(RewardError, match="holds no yuvalkirstain/PickScore_v1"):
        new_reward("pickscore", supplies)


@pytest.mark.gpu
@pytest.mark.filterwarnings("default")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU, and torch finds none here")
def test_a_card_holds_the_network_only_while_it_judges(models):
    config = from_dict({"reward": {"models_folder": str(models), "models": "offload"}})
    reward = new_reward("clipscore", supplies_of(config, models, {}))
    judge(reward, PICTURES, ["", ""])
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    judge(reward, PICTURES, ["", ""])
    weights = sum(one.numel() * one.element_size() for one in reward._reward._model.parameters())
    assert torch.cuda.memory_allocated() == before
    assert torch.cuda.max_memory_allocated() >= before + weights
