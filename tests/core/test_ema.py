import pytest
import torch
from torch import nn

from dgpo_core.ema import WeightCopy, averaged_decay, old_policy_decay
from dgpo_core.errors import CheckpointError


def policy(seed: int) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "down.lora_A": nn.Parameter(torch.randn(2, 3, generator=generator)),
        "down.lora_B": nn.Parameter(torch.randn(3, 2, generator=generator)),
    }


def values(weights) -> dict[str, list[float]]:
    return {name: weight.tolist() for name, weight in weights.items()}


@pytest.mark.parametrize(("step", "decay"), [(0, 0.0), (100, 0.1), (300, 0.3), (1000, 0.3)])
def test_the_old_policy_lags_more_and_more_up_to_a_limit(step, decay):
    assert old_policy_decay(step, max_decay=0.3) == pytest.approx(decay)


def test_the_slope_of_the_lag_can_be_chosen():
    assert old_policy_decay(10, max_decay=0.9, slope=0.02) == pytest.approx(0.2)


@pytest.mark.parametrize(("step", "decay"), [(0, 0.1), (8, 0.5), (80, 0.9), (1000, 0.95)])
def test_the_averaged_weights_lag_by_a_tenth_of_the_steps_up_to_a_limit(step, decay):
    assert averaged_decay(step, max_decay=0.95) == pytest.approx(decay)


def test_a_copy_does_not_move_with_the_weights_it_was_taken_of():
    parameters = policy(0)
    copy = WeightCopy.of(parameters)
    with torch.no_grad():
        parameters["down.lora_A"].zero_()
    assert values(copy.tensors()) == values(policy(0))
    assert not any(one.requires_grad for one in copy.tensors().values())


def test_a_copy_of_a_copy_stays_when_that_moves_on():
    weights = {"w": nn.Parameter(torch.zeros(2))}
    first = WeightCopy.of(weights)
    second = WeightCopy.of(first.tensors())
    with torch.no_grad():
        weights["w"].fill_(4)
    first.follow(weights, 0.5)
    assert first.tensors()["w"].tolist() == [2, 2]
    assert second.tensors()["w"].tolist() == [0, 0]


def test_following_keeps_the_share_decay_of_the_copy():
    copy, parameters = WeightCopy.of(policy(0)), policy(1)
    copy.follow(parameters, 0.9)
    for name, tensor in copy.tensors().items():
        torch.testing.assert_close(tensor, 0.9 * policy(0)[name].detach() + 0.1 * policy(1)[name].detach())
    assert values(parameters) == values(policy(1))


@pytest.mark.parametrize(("decay", "same_as"), [(0.0, 1), (1.0, 0)])
def test_no_decay_is_the_weights_themselves_and_full_decay_stands_still(decay, same_as):
    copy = WeightCopy.of(policy(0))
    copy.follow(policy(1), decay)
    assert values(copy.tensors()) == values(policy(same_as))


def test_swapped_in_weights_are_the_copy_and_come_back_bit_identical():
    parameters = policy(1)
    copy = WeightCopy.of(policy(0))
    places = {name: parameter.data_ptr() for name, parameter in parameters.items()}
    with copy.swapped_in(parameters):
        assert values(parameters) == values(policy(0))
    assert values(parameters) == values(policy(1))
    assert values(copy.tensors()) == values(policy(0))
    assert {name: parameter.data_ptr() for name, parameter in parameters.items()} == places


def test_weights_come_back_after_an_exception_and_after_being_written_to():
    parameters = policy(1)

    def interrupted() -> None:
        with WeightCopy.of(policy(0)).swapped_in(parameters), torch.no_grad():
            parameters["down.lora_A"].zero_()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert values(parameters) == values(policy(1))
    with WeightCopy.of(policy(0)).swapped_in(parameters):
        assert values(parameters) == values(policy(0))


def test_a_copy_that_does_not_fit_leaves_the_weights_as_they_were():
    parameters = policy(1)
    other = policy(0)
    other["down.lora_B"] = nn.Parameter(torch.zeros(7, 7))
    with pytest.raises(RuntimeError, match="size"), WeightCopy.of(other).swapped_in(parameters):
        pass
    assert values(parameters) == values(policy(1))
    with WeightCopy.of(policy(0)).swapped_in(parameters):
        assert values(parameters) == values(policy(0))


@pytest.mark.parametrize("same", [True, False])
def test_swapping_in_while_swapped_in_is_refused(same):
    parameters, outer = policy(2), WeightCopy.of(policy(0))
    inner = outer if same else WeightCopy.of(policy(1))
    with outer.swapped_in(parameters):
        with pytest.raises(RuntimeError, match="cannot be borrowed while other weights are swapped in"):
            inner.swapped_in(parameters).__enter__()
        assert values(parameters) == values(policy(0))
    assert values(parameters) == values(policy(2))


def test_borrowed_weights_are_neither_followed_nor_copied():
    parameters, averaged = policy(2), WeightCopy.of(policy(1))
    with WeightCopy.of(policy(0)).swapped_in(parameters):
        with pytest.raises(RuntimeError, match="cannot be followed while"):
            averaged.follow(parameters, 0.9)
        with pytest.raises(RuntimeError, match="cannot be copied while"):
            WeightCopy.of(parameters)
    assert values(averaged.tensors()) == values(policy(1))


def test_two_models_may_be_swapped_at_the_same_time():
    left, right = policy(1), policy(2)
    copy = WeightCopy.of(policy(0))
    with copy.swapped_in(left), copy.swapped_in(right):
        assert values(left) == values(right) == values(policy(0))
    assert (values(left), values(right)) == (values(policy(1)), values(policy(2)))


def test_other_names_are_refused():
    copy, parameters = WeightCopy.of(policy(0)), policy(1)
    del parameters["down.lora_B"]
    with pytest.raises(ValueError, match=r"1 names .* first down\.lora_B"):
        copy.follow(parameters, 0.5)
    with pytest.raises(ValueError, match=r"1 names .* first down\.lora_B"):
        copy.swapped_in(parameters).__enter__()


def test_saved_values_are_loaded_into_storage_of_its_own():
    copy, saved = WeightCopy.of(policy(0)), WeightCopy.of(policy(1)).tensors()
    copy.load(saved)
    saved["down.lora_A"].zero_()
    assert values(copy.tensors()) == values(policy(1))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"extra": torch.zeros(1)}, r"in 1 places, first extra: got \[1\] torch.float32, expected nothing"),
        ({"down.lora_A": torch.zeros(2, 9)}, r"first down.lora_A: got \[2, 9\] torch.float32, expected \[2, 3\]"),
        ({"down.lora_A": torch.zeros(2, 3).half()}, r"got \[2, 3\] torch.float16, expected \[2, 3\] torch.float32"),
    ],
)
def test_saved_values_that_do_not_fit_are_refused_whole(changed, message):
    copy = WeightCopy.of(policy(0))
    with pytest.raises(CheckpointError, match=message + r".*Resume with the model and LoRA rank"):
        copy.load(WeightCopy.of(policy(1)).tensors() | changed)
    assert values(copy.tensors()) == values(policy(0))


def test_missing_saved_values_are_refused():
    copy, saved = WeightCopy.of(policy(0)), WeightCopy.of(policy(1)).tensors()
    del saved["down.lora_B"]
    with pytest.raises(CheckpointError, match=r"first down.lora_B: got nothing, expected \[3, 2\]"):
        copy.load(saved)
