"""The numbers that preferences are learned from, of models whose prompts come in different forms."""

import numpy as np
import pytest
import torch

from dgpo_core.models.protocol import Conditioning
from dgpo_core.preference.picture_features import NUM_SEEN, plainly_seen, pooled_form

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


@pytest.mark.parametrize(
    ("squares", "number", "side"),
    [
        ([], 0, 0.0),
        ([(10, 10, 8)], 1, 8 / 64),
        ([(10, 10, 8), (40, 40, 8)], 2, 8 / 64),
        ([(10, 10, 8), (40, 40, 16)], 2, ((8**2 + 16**2) / 2) ** 0.5 / 64),
        ([(10, 10, 8), (18, 18, 8)], 1, (2 * 8**2) ** 0.5 / 64),
        ([(10, 10, 8), (40, 40, 2)], 1, 8 / 64),
    ],
    ids=["nothing", "one", "two", "two sizes", "two that touch at a corner", "one and a speck"],
)
def test_things_are_counted_and_measured_whatever_their_colour(squares, number, side):
    picture = np.full((64, 64, 3), 240, np.uint8)
    for index, (x, y, size) in enumerate(squares):
        picture[y : y + size, x : x + size] = (200, 20, 20) if index else (250, 210, 40)
    seen = plainly_seen(picture)
    assert seen.shape == (NUM_SEEN,)
    torch.testing.assert_close(seen[-2:], torch.tensor([number / 8, side]))
