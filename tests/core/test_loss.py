"""The DGPO loss against the log-sigmoid form it stands for."""

from dataclasses import dataclass
from math import exp

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dgpo_core.groups import group_advantages
from dgpo_core.loss import (
    dgpo_loss,
    gated_error,
    group_preference,
    is_clipped,
    is_pushed_enough,
    kl_to_reference,
    velocity_error,
)

K, G = 3, 4


@dataclass(frozen=True)
class Case:
    """A tiny linear policy on random pictures: everything the loss needs, in float64."""

    inputs: Tensor
    target: Tensor
    reference_error: Tensor
    advantage: Tensor
    group: Tensor
    weights: Tensor

    def error(self, weights: Tensor, only: slice = slice(None)) -> Tensor:
        velocity = torch.einsum("bchw,cd->bdhw", self.inputs[only], weights)
        return velocity_error(velocity, self.target[only])


def case(seed: int = 0) -> Case:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    group = torch.arange(K).repeat_interleave(G)
    inputs, target, weights = normal(K * G, 2, 3, 3), normal(K * G, 2, 3, 3), normal(2, 2)
    made = Case(
        inputs, target, normal(0), group_advantages(normal(K * G), group, num_groups=K).advantage, group, weights
    )
    reference = made.error(weights + 0.1 * normal(2, 2))
    return Case(inputs, target, reference, made.advantage, group, weights)


def log_sigmoid_gradient(one: Case, beta: float) -> Tensor:
    """The gradient of the paper's loss, mean over groups, by autograd."""
    weights = one.weights.clone().requires_grad_()
    moved = one.advantage * (one.error(weights) - one.reference_error)
    loss = -torch.nn.functional.logsigmoid(-beta / G * moved.view(K, G).sum(1)).mean()
    return torch.autograd.grad(loss, weights)[0]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("beta", [0.3, 10.0, 100.0])
def test_its_gradient_is_that_of_the_log_sigmoid_form_over_beta(seed, beta):
    one = case(seed)
    weights = one.weights.clone().requires_grad_()
    terms = dgpo_loss(
        one.error(weights),
        one.reference_error,
        one.advantage,
        one.group,
        num_groups=K,
        group_size=G,
        preference_beta=beta,
    )
    gradient = torch.autograd.grad(terms.per_sample.mean(), weights)[0]
    assert gradient.abs().max() > 0
    torch.testing.assert_close(beta * gradient, log_sigmoid_gradient(one, beta), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-6)])
def test_single_samples_accumulated_and_then_gated_give_the_same_gradient(seed, dtype, tolerance):
    beta, exact = 20.0, case(seed)
    one = Case(*(t.to(dtype) if t.is_floating_point() else t for t in vars(exact).values()))
    weights = one.weights.clone().requires_grad_()
    accumulated = torch.zeros_like(weights)
    for index in range(K):
        preference = torch.zeros(1, dtype=dtype)
        of_group = torch.zeros_like(weights)
        for member in range(index * G, (index + 1) * G):
            only = slice(member, member + 1)
            error = one.error(weights, only)
            preference += group_preference(
                one.advantage[only],
                error,
                one.reference_error[only],
                torch.zeros(1, dtype=torch.long),
                num_groups=1,
                group_size=G,
                preference_beta=beta,
            )
            of_group += torch.autograd.grad((one.advantage[only] * error).sum(), weights)[0]
        accumulated += preference.sigmoid() * of_group / (K * G)
    expected = log_sigmoid_gradient(exact, beta).to(dtype) / beta
    torch.testing.assert_close(accumulated, expected, rtol=tolerance, atol=tolerance)


def test_a_gate_from_an_earlier_pass_makes_micro_batches_exact():
    one, beta = case(), 20.0
    arguments = {"num_groups": K, "group_size": G, "preference_beta": beta}
    weights = one.weights.clone().requires_grad_()
    preference = sum(
        group_preference(
            one.advantage[part], one.error(weights, part), one.reference_error[part], one.group[part], **arguments
        )
        for part in (slice(0, 5), slice(5, 12))
    )
    gradient = torch.zeros_like(weights)
    for part in (slice(0, 7), slice(7, 12)):
        error = one.error(weights, part)
        none = torch.zeros_like(error, dtype=torch.bool)
        share = gated_error(error, one.advantage[part], preference.sigmoid(), one.group[part], none)
        gradient += torch.autograd.grad(share.sum() / (K * G), weights)[0]
    torch.testing.assert_close(gradient, log_sigmoid_gradient(one, beta) / beta, rtol=1e-10, atol=1e-12)


def test_a_group_split_over_two_ranks_equals_one_rank():
    one = case()
    arguments = {"num_groups": K, "group_size": G, "preference_beta": 20.0}
    error = one.error(one.weights)
    whole = dgpo_loss(error, one.reference_error, one.advantage, one.group, **arguments)
    halves = (slice(0, 12, 2), slice(1, 12, 2))

    def part_of(tensors: slice) -> tuple[Tensor, ...]:
        return error[tensors], one.reference_error[tensors], one.advantage[tensors], one.group[tensors]

    other = [dgpo_loss(*part_of(half), **arguments).preference for half in reversed(halves)]
    ranks = [
        dgpo_loss(*part_of(half), **arguments, sum_over_ranks=lambda own, rest=rest: own + rest)
        for half, rest in zip(halves, other, strict=True)
    ]
    for half, rank in zip(halves, ranks, strict=True):
        torch.testing.assert_close(rank.preference, whole.preference, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(rank.gate, whole.gate, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(rank.per_sample, whole.per_sample[half], rtol=1e-12, atol=1e-12)


def test_terms_worked_out_by_hand():
    error = torch.tensor([1.0, 2.0, 3.0, 4.0])
    reference_error = torch.tensor([1.5, 1.5, 3.0, 3.0])
    advantage = torch.tensor([1.0, -1.0, 2.0, -2.0])
    terms = dgpo_loss(
        error, reference_error, advantage, torch.tensor([0, 0, 1, 1]), num_groups=2, group_size=2, preference_beta=3.0
    )
    gates = [1 / (1 + exp(1.5)), 1 / (1 + exp(3.0))]
    assert terms.preference.tolist() == pytest.approx([-1.5, -3.0])
    assert terms.gate.tolist() == pytest.approx(gates)
    assert terms.per_sample.tolist() == pytest.approx([gates[0], -2 * gates[0], 6 * gates[1], -8 * gates[1]])
    assert terms.is_clipped.tolist() == [False] * 4


def test_at_the_reference_every_gate_is_one_half():
    one = case()
    error = one.error(one.weights)
    terms = dgpo_loss(error, error, one.advantage, one.group, num_groups=K, group_size=G, preference_beta=1e5)
    assert terms.gate.tolist() == [0.5] * K


def test_a_learned_group_stops_itself_and_an_unlearned_one_is_pushed_fully():
    advantage, group = torch.tensor([1.0, -1.0, 1.0, -1.0]), torch.tensor([0, 0, 1, 1])
    error = torch.tensor([0.0, 2.0, 2.0, 0.0])
    terms = dgpo_loss(error, torch.ones(4), advantage, group, num_groups=2, group_size=2, preference_beta=1000.0)
    assert terms.gate.tolist() == pytest.approx([0.0, 1.0])


def test_a_group_without_preference_adds_nothing():
    group = torch.tensor([0, 0, 1, 1])
    advantage = group_advantages(torch.tensor([1.0, 1.0, 0.0, 1.0]), group, num_groups=2).advantage
    error = torch.tensor([0.3, 0.9, 0.4, 0.5], requires_grad=True)
    terms = dgpo_loss(error, torch.full((4,), 0.5), advantage, group, num_groups=2, group_size=2, preference_beta=10.0)
    terms.per_sample.mean().backward()
    assert terms.per_sample[:2].tolist() == [0.0, 0.0]
    assert error.grad is not None
    assert error.grad[:2].tolist() == [0.0, 0.0]
    assert (error.grad[2:] != 0).all()


@given(st.floats(-10, 10), st.floats(0.1, 10))
def test_shift_and_scale_of_the_rewards_do_not_change_the_loss(shift, scale):
    one = case()
    reward = torch.linspace(-1, 1, K * G, dtype=torch.float64) ** 3
    losses = [
        dgpo_loss(
            one.error(one.weights),
            one.reference_error,
            group_advantages(value, one.group, num_groups=K).advantage,
            one.group,
            num_groups=K,
            group_size=G,
            preference_beta=10.0,
        ).per_sample
        for value in (reward, shift + scale * reward)
    ]
    torch.testing.assert_close(*losses)


def test_a_clipped_sample_keeps_its_value_and_has_exactly_zero_gradient():
    error = torch.tensor([0.4, 0.5, 0.6, 0.5], requires_grad=True)
    old_error = torch.tensor([0.5, 0.5, 0.5, 0.6])
    advantage = torch.tensor([1.0, 1.0, -1.0, -1.0])
    arguments = {"num_groups": 1, "group_size": 4, "preference_beta": 10.0}
    group = torch.zeros(4, dtype=torch.long)
    terms = dgpo_loss(error, old_error, advantage, group, **arguments, old_error=old_error, clip_range=0.05)
    assert terms.is_clipped.tolist() == [True, False, True, False]
    free = dgpo_loss(error, old_error, advantage, group, **arguments)
    assert torch.equal(terms.per_sample, free.per_sample)
    assert torch.equal(terms.preference, free.preference)
    terms.per_sample.mean().backward()
    assert error.grad is not None
    assert error.grad[[0, 2]].tolist() == [0.0, 0.0]
    assert error.grad[[1, 3]].tolist() == pytest.approx([terms.gate.item() / 4, -terms.gate.item() / 4])


@pytest.mark.parametrize(
    ("advantage", "ratio", "expected"),
    [
        (1.0, 1.11, True),
        (1.0, 1.09, False),
        (1.0, 0.5, False),
        (-1.0, 0.89, True),
        (-1.0, 0.91, False),
        (-1.0, 2.0, False),
    ],
)
def test_only_moves_the_way_of_the_advantage_are_clipped(advantage, ratio, expected):
    old_error = torch.tensor([0.7])
    error = old_error - torch.tensor([ratio]).log()
    assert is_clipped(error, old_error, torch.tensor([advantage]), 0.1).tolist() == [expected]


def test_a_clip_range_of_zero_clips_nothing():
    assert is_clipped(torch.zeros(2), torch.ones(2), torch.tensor([1.0, -1.0]), 0.0).tolist() == [False, False]


@pytest.mark.parametrize(
    ("advantage", "error", "expected"), [(-1.0, 0.81, True), (-1.0, 0.79, False), (0.0, 5.0, False), (1.0, 5.0, False)]
)
def test_only_dispreferred_samples_far_above_the_frozen_error_are_pushed_enough(advantage, error, expected):
    found = is_pushed_enough(torch.tensor([error]), torch.tensor([0.7]), torch.tensor([advantage]), 0.1)
    assert found.tolist() == [expected]
    assert is_pushed_enough(torch.tensor([9.0]), torch.tensor([0.7]), torch.tensor([advantage]), 0.0).item() is False


def test_a_sample_that_was_pushed_enough_keeps_its_value_and_has_exactly_zero_gradient():
    error = torch.tensor([0.9, 0.9, 0.6, 0.9], requires_grad=True)
    advantage, reference_error = torch.tensor([1.0, -1.0, -1.0, -1.0]), torch.full((4,), 0.7)
    arguments = {"num_groups": 1, "group_size": 4, "preference_beta": 10.0}
    group = torch.zeros(4, dtype=torch.long)
    frozen_error = torch.tensor([0.5, 0.5, 0.5, 0.85])
    free = dgpo_loss(error, reference_error, advantage, group, **arguments)
    terms = dgpo_loss(error, reference_error, advantage, group, **arguments, frozen_error=frozen_error, dual_clip=0.15)
    assert terms.is_clipped.tolist() == [False, True, False, False]
    assert torch.equal(terms.per_sample, free.per_sample)
    terms.per_sample.mean().backward()
    assert error.grad is not None
    gate = terms.gate.item()
    assert error.grad.tolist() == pytest.approx([gate / 4, 0.0, -gate / 4, -gate / 4])
    by_reference = dgpo_loss(error, reference_error, advantage, group, **arguments, dual_clip=0.15)
    assert by_reference.is_clipped.tolist() == [False, True, False, True]


def test_without_an_old_policy_nothing_is_clipped():
    error = torch.tensor([0.1, 0.9])
    terms = dgpo_loss(
        error,
        torch.ones(2),
        torch.tensor([1.0, -1.0]),
        torch.tensor([0, 0]),
        num_groups=1,
        group_size=2,
        preference_beta=1.0,
        clip_range=1e-5,
    )
    assert terms.is_clipped.tolist() == [False, False]


def test_only_the_error_carries_gradient():
    tensors = [torch.tensor([0.2, 0.4], requires_grad=True) for _ in range(3)]
    terms = dgpo_loss(
        tensors[0],
        tensors[1],
        torch.tensor([1.0, -1.0]),
        torch.tensor([0, 0]),
        num_groups=1,
        group_size=2,
        preference_beta=1.0,
        old_error=tensors[2],
        clip_range=0.1,
    )
    terms.per_sample.sum().backward()
    assert [one.grad is None for one in tensors] == [False, True, True]
    assert not terms.gate.requires_grad
    assert not terms.preference.requires_grad


def test_a_perfect_prediction_has_no_error():
    target = case().target
    assert velocity_error(target, target).tolist() == [0.0] * (K * G)


def test_the_error_is_a_mean_over_each_picture_in_float32():
    velocity = torch.zeros(2, 1, 2, 2, dtype=torch.bfloat16)
    target = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]], [[[0.0, 0.0], [0.0, 2.0]]]], dtype=torch.bfloat16)
    error = velocity_error(velocity, target)
    assert error.dtype == torch.float32
    assert error.tolist() == [7.5, 1.0]


def test_the_pull_to_the_reference_moves_the_policy_only():
    velocity = torch.full((1, 1, 1, 2), 3.0, requires_grad=True)
    reference = torch.ones(1, 1, 1, 2, requires_grad=True)
    kl = kl_to_reference(velocity, reference)
    kl.sum().backward()
    assert kl.tolist() == [4.0]
    assert velocity.grad is not None
    assert velocity.grad.flatten().tolist() == [2.0, 2.0]
    assert reference.grad is None


def test_tensors_of_different_batches_are_refused():
    with pytest.raises(TypeError, match="reference_error"):
        dgpo_loss(
            torch.ones(4),
            torch.ones(3),
            torch.ones(4),
            torch.zeros(4, dtype=torch.long),
            num_groups=1,
            group_size=4,
            preference_beta=1.0,
        )


def test_the_gate_is_data():
    gate = torch.tensor([0.3], requires_grad=True)
    error = torch.tensor([0.2, 0.4], requires_grad=True)
    group = torch.zeros(2, dtype=torch.long)
    shares = gated_error(error, torch.tensor([1.0, -1.0]), gate, group, torch.tensor([False, False]))
    assert shares.tolist() == pytest.approx([0.06, -0.12])
    shares.sum().backward()
    assert gate.grad is None
    assert error.grad is not None
    assert error.grad.tolist() == pytest.approx([0.3, -0.3])
