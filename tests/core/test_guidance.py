import torch

from dgpo_core.guidance import guided

CONDITIONAL = torch.tensor([[[[1.0, -2.0]]]])
UNCONDITIONAL = torch.tensor([[[[0.5, 2.0]]]])


def test_scale_one_is_the_conditional_velocity_and_zero_the_unconditional():
    assert torch.equal(guided(CONDITIONAL, UNCONDITIONAL, 1.0), CONDITIONAL)
    assert torch.equal(guided(CONDITIONAL, UNCONDITIONAL, 0.0), UNCONDITIONAL)


def test_a_scale_of_four_goes_four_times_the_way():
    assert torch.equal(guided(CONDITIONAL, UNCONDITIONAL, 4.0), torch.tensor([[[[2.5, -14.0]]]]))
