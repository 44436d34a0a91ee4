from statistics import fmean, pstdev

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dgpo_core.groups import extremes_only, group_advantages

rewards_of_groups = st.lists(
    st.lists(st.floats(-100, 100, allow_subnormal=False), min_size=1, max_size=6), min_size=1, max_size=5
)


def batch(groups: list[list[float]], dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    """All rewards, group after group, and the group of each."""
    reward = torch.tensor([value for one in groups for value in one], dtype=dtype)
    return reward, torch.tensor([index for index, one in enumerate(groups) for _ in one])


def advantages(groups: list[list[float]], **options):
    reward, group = batch(groups)
    return group_advantages(reward, group, num_groups=len(groups), **{"clip": 100.0, "floor": 1e-4} | options)


def test_advantages_worked_out_by_hand():
    found = advantages([[1.0, 2.0, 3.0, 6.0], [5.0, 5.0, 5.0, 5.0]])
    std = 3.5**0.5
    assert found.advantage.tolist() == pytest.approx([-2 / std, -1 / std, 0, 3 / std, 0, 0, 0, 0])
    assert found.mean.tolist() == [3.0, 5.0]
    assert found.std.tolist() == pytest.approx([std, 0.0])
    assert found.has_preference.tolist() == [True, False]


@given(rewards_of_groups)
def test_group_numbers_equal_a_plain_loop(groups):
    found = advantages(groups)
    assert found.mean.tolist() == pytest.approx([fmean(one) for one in groups], abs=1e-9)
    assert found.std.tolist() == pytest.approx([pstdev(one) for one in groups], abs=1e-6)
    assert found.has_preference.tolist() == [max(one) > min(one) for one in groups]
    expected = [
        (value - fmean(one)) / max(pstdev(one), 1e-4) if max(one) > min(one) else 0 for one in groups for value in one
    ]
    assert found.advantage.tolist() == pytest.approx(expected, rel=1e-5, abs=1e-5)


@given(rewards_of_groups, st.sampled_from(["group", "batch"]))
def test_unclipped_advantages_of_a_group_sum_to_zero(groups, std):
    found = advantages(groups, std=std, clip=1e9)
    sums = torch.zeros(len(groups), dtype=torch.float64).index_add_(0, batch(groups)[1], found.advantage)
    assert sums.tolist() == pytest.approx([0.0] * len(groups), abs=1e-6)


@given(st.floats(-10, 10), st.floats(0.1, 10), st.sampled_from(["group", "batch"]))
def test_advantages_know_neither_shift_nor_scale_of_the_reward(shift, scale, std):
    groups = [[1.0, 2.0, 4.0], [0.0, 0.5, -3.0], [2.0, 2.0, 2.0]]
    moved = [[shift + scale * value for value in one] for one in groups]
    torch.testing.assert_close(advantages(moved, std=std).advantage, advantages(groups, std=std).advantage)


def test_batch_std_is_the_spread_of_all_rewards_as_in_the_official_code():
    groups = [[0.0, 2.0], [10.0, 14.0]]
    spread = pstdev([0.0, 2.0, 10.0, 14.0])
    found = advantages(groups, std="batch")
    assert found.advantage.tolist() == pytest.approx([-1 / spread, 1 / spread, -2 / spread, 2 / spread])
    assert found.std.tolist() == pytest.approx([1.0, 2.0])


def test_equal_rewards_are_no_preference_in_a_batch_that_has_spread():
    found = advantages([[1.0, 1.0], [0.0, 2.0]], std="batch")
    assert found.has_preference.tolist() == [False, True]
    assert found.advantage[:2].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e6 + 0.1])
def test_equal_rewards_are_no_preference_whatever_their_mean_rounds_to(value):
    reward = torch.full((7,), value)
    found = group_advantages(reward, torch.zeros(7, dtype=torch.long), num_groups=1)
    assert found.has_preference.tolist() == [False]
    assert found.advantage.tolist() == [0.0] * 7


def test_near_ties_are_not_blown_up_to_unit_spread():
    found = advantages([[0.5, 0.5 + 2e-6]], floor=1e-4)
    assert found.advantage.tolist() == pytest.approx([-0.01, 0.01], rel=1e-4)
    assert found.has_preference.tolist() == [True]


@pytest.mark.parametrize("std", ["group", "batch"])
def test_samples_without_a_reward_are_as_if_they_were_not_there(std):
    reward, group = batch([[1.0, 9.0, 3.0], [2.0, 7.0, 4.0]])
    reward[[1, 4]] = torch.nan
    has_reward = torch.tensor([True, False, True, True, False, True])
    found = group_advantages(reward, group, num_groups=2, has_reward=has_reward, std=std)
    smaller = group_advantages(*batch([[1.0, 3.0], [2.0, 4.0]]), num_groups=2, std=std)
    assert torch.equal(found.advantage[has_reward], smaller.advantage)
    assert found.advantage[~has_reward].tolist() == [0.0, 0.0]
    assert torch.equal(found.mean, smaller.mean)
    assert torch.equal(found.std, smaller.std)
    assert found.has_preference.tolist() == [True, True]


@pytest.mark.parametrize("std", ["group", "batch"])
def test_fewer_than_two_rewards_are_no_preference(std):
    reward, group = batch([[1.0, 2.0], [3.0, 4.0]])
    has_reward = torch.tensor([True, False, False, False])
    found = group_advantages(reward, group, num_groups=2, has_reward=has_reward, std=std)
    assert found.advantage.tolist() == [0.0] * 4
    assert found.has_preference.tolist() == [False, False]
    assert found.mean[0] == 1.0
    assert found.std[0] == 0.0
    assert found.mean[1].isnan()
    assert found.std[1].isnan()


def test_no_reward_at_all_is_no_preference():
    reward, group = batch([[1.0, 2.0]])
    found = group_advantages(reward, group, num_groups=1, has_reward=torch.zeros(2, dtype=torch.bool), std="batch")
    assert found.advantage.tolist() == [0.0, 0.0]
    assert found.has_preference.tolist() == [False]


def test_advantages_are_clipped_on_both_sides():
    groups = [[0.0] * 15 + [1.0], [1.0] * 15 + [0.0]]
    outlier = 15 / 15**0.5
    assert advantages(groups).advantage[[15, 31]].tolist() == pytest.approx([outlier, -outlier])
    clipped = advantages(groups, clip=2.0).advantage
    assert clipped[[15, 31]].tolist() == [2.0, -2.0]
    assert clipped[:16].sum() < -0.5


def test_uniform_weights_share_half_the_group_on_either_side():
    found = advantages([[1.0, 2.0, 3.0, 6.0], [0.0, 0.0, 0.0, 4.0], [5.0, 5.0]], is_uniform=True)
    assert found.advantage.tolist() == pytest.approx([-2 / 3, -2 / 3, -2 / 3, 2, -2 / 3, -2 / 3, -2 / 3, 2, 0, 0])


@given(rewards_of_groups)
def test_uniform_weights_of_a_group_sum_to_zero(groups):
    found = advantages(groups, is_uniform=True)
    _, group = batch(groups)
    for index in range(len(groups)):
        assert float(found.advantage[group == index].sum()) == pytest.approx(0, abs=1e-9)


def test_uniform_weights_leave_samples_without_a_reward_out():
    reward, group = torch.tensor([1.0, 9.0, 2.0, 3.0]), torch.zeros(4, dtype=torch.long)
    has_reward = torch.tensor([True, False, True, True])
    found = group_advantages(reward, group, num_groups=1, has_reward=has_reward, is_uniform=True)
    assert found.advantage.tolist() == pytest.approx([-0.75, 0, -0.75, 1.5])


def test_the_order_of_samples_does_not_matter():
    reward, group = batch([[1.0, 2.0, 4.0], [0.0, 0.5, -3.0]])
    order = torch.tensor([4, 0, 3, 5, 2, 1])
    found = group_advantages(reward[order], group[order], num_groups=2)
    torch.testing.assert_close(found.advantage, group_advantages(reward, group, num_groups=2).advantage[order])


def test_advantages_keep_the_dtype_of_the_rewards():
    reward, group = batch([[1.0, 2.0]], torch.float32)
    found = group_advantages(reward, group, num_groups=1)
    assert {found.advantage.dtype, found.mean.dtype, found.std.dtype} == {torch.float32}


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_reward_that_is_no_number_is_refused(bad):
    reward, group = batch([[1.0, bad]])
    with pytest.raises(ValueError, match=r"every reward must be finite, got \[-?(nan|inf)\]"):
        group_advantages(reward, group, num_groups=1)


@pytest.mark.parametrize("wrong", [-1, 2])
def test_a_group_number_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match="groups must be 0 to 1, got"):
        group_advantages(torch.tensor([1.0, 2.0]), torch.tensor([0, wrong]), num_groups=2)


def test_an_unknown_std_is_refused():
    with pytest.raises(ValueError, match="std must be group or batch, got 'median'"):
        advantages([[1.0, 2.0]], std="median")


@pytest.mark.parametrize("options", [{"clip": 0.5}, {"is_uniform": True}], ids=["clipped", "uniform"])
def test_the_best_picture_is_an_extreme_whatever_makes_its_advantage_like_that_of_others(options):
    rewards = [[0.75, 0.75, 0.75, 0.0, 0.0, 0.0, 0.0, 1.0], [0.2, 0.3, 0.25, 0.9, 0.9, 0.9, 0.9, 0.1]]
    found = extremes_only(advantages(rewards, **options), 8, 2)
    assert found.is_trained.nonzero().flatten().tolist() == [6, 7, 11, 15]


def test_extremes_worked_out_by_hand():
    found = extremes_only(advantages([[0.0, 1.0, 5.0, 2.0], [3.0, 3.0, 3.0, 3.0], [0.0, 0.0, 0.0, 1.0]]), 4, 2)
    std, other = 3.5**0.5, 0.1875**0.5
    assert found.is_trained.tolist() == [True, False, True, False, *[False] * 4, False, False, True, True]
    expected = [-2.5 / std, 0, 2.5 / std, 0, 0, 0, 0, 0, 0, 0, -0.5 / other, 0.5 / other]
    assert found.advantage.tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("rewards", "count", "trained", "order"),
    [
        # one liked, five disliked, six without an opinion: the best two are the liked and a disliked one
        ([1, *[0] * 5, *[None] * 6], 4, [0, 1, 4, 5], [3, -1, 0, 0, -1, -1, *[0] * 6]),
        # fewer judged than wanted: all of them count, and others fill the group
        ([None, 1, None, 0, None, None], 4, [0, 1, 2, 3], [0, 1, 0, -1, 0, 0]),
    ],
)
def test_samples_without_a_reward_are_neither_the_best_nor_the_worst(rewards, count, trained, order):
    known = torch.tensor([one is not None for one in rewards])
    reward = torch.tensor([float(one or 0) for one in rewards], dtype=torch.float64)
    size = len(rewards)
    every = group_advantages(reward, torch.zeros(size, dtype=torch.long), num_groups=1, has_reward=known)
    found = extremes_only(every, size, count)
    assert found.is_trained.nonzero().flatten().tolist() == trained
    scale = found.advantage.max() / max(order)
    assert found.advantage.tolist() == pytest.approx([float(scale) * one for one in order])


@given(st.lists(st.lists(st.integers(0, 4), min_size=6, max_size=6), min_size=1, max_size=4), st.integers(2, 5))
def test_extremes_are_count_pictures_of_every_group_with_a_preference_and_sum_to_zero(groups, count):
    every = advantages([[float(value) for value in one] for one in groups])
    found = extremes_only(every, 6, count)
    trained, advantage = found.is_trained.view(-1, 6), found.advantage.view(-1, 6)
    assert trained.sum(1).tolist() == [count * alive for alive in every.has_preference.tolist()]
    assert advantage.sum(1).tolist() == pytest.approx([0.0] * len(groups), abs=1e-9)
    assert not advantage[~trained].any()
    for alive, chosen, rewards in zip(every.has_preference, trained, torch.tensor(groups), strict=True):
        if alive:
            assert rewards[chosen].max() == rewards.max()
            assert rewards[chosen].min() == rewards.min()
