"""Which groups are asked about, on features whose worth is known."""

from dataclasses import replace

import pytest
import torch

from dgpo_core.preference.ensemble import learned
from dgpo_core.preference.picking import EARLY_GROUPS, group_doubt, most_telling, worth_asking


def along(axis, size=6, length=1.0):
    """A group whose pictures differ in one feature only."""
    group = torch.zeros(size, 3)
    group[:, axis] = torch.linspace(-length, length, size)
    return group


@pytest.fixture(scope="module")
def knows_the_first():
    """Heads that learned from groups that differ in the first feature alone, and a little in noise."""
    generator = torch.Generator().manual_seed(0)
    features = torch.stack([along(0) + 0.1 * torch.randn(6, 3, generator=generator) for _ in range(8)])
    return learned(features, features[..., 0], torch.ones(3), seed=0)[0]


def test_a_group_that_tells_something_new_comes_first(knows_the_first):
    assert most_telling(knows_the_first, torch.stack([along(0), along(1), along(0)]), 1) == [1]


def test_the_second_choice_does_not_ask_the_same_again(knows_the_first):
    groups = torch.stack([along(1), along(1), along(2), along(0)])
    assert sorted(most_telling(knows_the_first, groups, 2)) in ([0, 2], [1, 2])


def test_pictures_that_look_alike_are_asked_about_last(knows_the_first):
    groups = torch.stack([torch.zeros(6, 3), along(1), along(2)])
    assert most_telling(knows_the_first, groups, 3)[-1] == 0


def test_what_all_pictures_of_a_prompt_share_decides_nothing(knows_the_first):
    groups = torch.stack([along(0), along(1), along(2), along(1, length=0.5)])
    more = {"mean": torch.zeros(4), "scale": torch.ones(4)}
    wide = {name: torch.cat([getattr(knows_the_first, name), values]) for name, values in more.items()}
    for name, weight in (("first", 0.0), ("linear", 1.0)):
        part = getattr(knows_the_first, name)
        wide[name] = torch.cat([part, torch.full((part.shape[0], 4, part.shape[2]), weight)], dim=1)
    wide["precision"] = torch.block_diag(knows_the_first.precision, 0.1 * torch.eye(4))
    wide["spread"] = torch.block_diag(knows_the_first.spread, torch.zeros(4, 4))
    prompts = torch.randn(4, 1, 4, generator=torch.Generator().manual_seed(0)).expand(-1, groups.shape[1], -1)
    chosen = most_telling(replace(knows_the_first, **wide), torch.cat([groups, prompts], dim=2), 3)
    assert chosen == most_telling(knows_the_first, groups, 3)


def test_no_more_are_chosen_than_there_are(knows_the_first):
    assert sorted(most_telling(knows_the_first, torch.stack([along(0), along(1)]), 5)) == [0, 1]
    assert most_telling(knows_the_first, torch.stack([along(0)]), 0) == []


def test_once_enough_is_known_every_other_group_is_asked_by_chance(knows_the_first):
    groups = torch.stack([along(0), along(0), along(0), along(1), along(2)])
    assert worth_asking(knows_the_first, groups, 2) == [3, 4]
    experienced = replace(knows_the_first, num_groups=torch.tensor(float(EARLY_GROUPS)))
    assert worth_asking(experienced, groups, 2) in ([0, 3], [0, 4])
    assert worth_asking(experienced, groups, 5) == [0, 1, 2, 3, 4]


def test_doubt_is_none_where_heads_agree_and_greatest_where_they_contradict_each_other():
    agreed = torch.tensor([[0.0, 1.0, 2.0]]).expand(4, 1, 3)
    at_odds = torch.tensor([[[0.0, 40.0]], [[40.0, 0.0]]])
    assert group_doubt(agreed).item() == 0
    assert group_doubt(at_odds).item() == pytest.approx(0.5)
    assert group_doubt(agreed + 5.0).item() == 0
