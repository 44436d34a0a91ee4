import pytest
import torch

from base_model.pipeline import shapes_tokenizer
from base_model.wordings import Wordings
from dgpo_core.data.requests import CATEGORIES, ENDINGS, OPENINGS, all_requests

REQUESTS = [all_requests(category)[-1] for category in CATEGORIES] * 100


@pytest.fixture(scope="module")
def wordings():
    return Wordings(shapes_tokenizer())


def read(tokens):
    """What the tokens say, in words."""
    tokenizer = shapes_tokenizer()
    return [tokenizer.decode(row, skip_special_tokens=True) for row in tokens]


def test_requests_are_told_in_their_own_words_half_of_them_plain_and_a_tenth_not_at_all(wordings):
    texts = read(wordings.told(wordings.rows(REQUESTS), torch.Generator().manual_seed(0)))
    pairs = [(request.wording(), text) for request, text in zip(REQUESTS, texts, strict=True) if text]
    assert 0.06 < 1 - len(pairs) / len(REQUESTS) < 0.14
    assert all(plain in text for plain, text in pairs)
    assert 0.45 < sum(plain == text for plain, text in pairs) / len(pairs) < 0.6
    assert {text.split()[1] for _, text in pairs} >= {opening.split()[1] for opening in OPENINGS if opening}
    assert {ending for ending in ENDINGS if any(text.endswith(ending) for _, text in pairs)} == set(ENDINGS)


def test_captions_told_together_are_empty_together_and_worded_apart(wordings):
    rows = wordings.rows(REQUESTS).expand(2, -1)
    one, other = wordings.told(rows, torch.Generator().manual_seed(0))
    empty = [(tokens == wordings.empty).all(1) for tokens in (one, other)]
    assert torch.equal(*empty)
    assert empty[0].any()
    assert not torch.equal(one, other)


def test_the_generator_decides_what_is_told(wordings):
    rows = wordings.rows(REQUESTS)
    first, again, other = (wordings.told(rows, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
