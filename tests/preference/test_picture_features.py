"""The numbers that preferences are learned from, of models whose prompts come in different forms."""

import pytest
import torch

from dgpo_core.models.protocol import Conditioning
from dgpo_core.preference.picture_features import pooled_form

TOKENS = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]], [[5.0, 6.0], [9.0, 9.0], [9.0, 9.0]]])


@pytest.mark.parametrize(
    ("pooled", "mask", "expected"),
    [
        (torch.tensor([[7.0], [8.0]]), None, [[7.0], [8.0]]),
        (None, None, [[13 / 3, 5.0], [23 / 3, 8.0]]),
        (None, torch.tensor([[True, True, False], [True, False, False]]), [[2.0, 3.0], [5.0, 6.0]]),
        (None, torch.tensor([[1, 1, 0], [0, 0, 0]]), [[2.0, 3.0], [0.0, 0.0]]),
    ],
)
def test_a_prompt_without_a_pooled_form_is_the_mean_of_its_tokens_that_count(pooled, mask, expected):
    conditioning = Conditioning(TOKENS.to(torch.bfloat16), pooled, mask)
    torch.testing.assert_close(pooled_form(conditioning), torch.tensor(expected), rtol=1e-2, atol=1e-2)
