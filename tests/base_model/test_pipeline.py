"""The pipeline's words are the words of the Shapes world, numbered the same for ever."""

import json
from hashlib import sha256

from base_model.pipeline import NUM_TOKENS, TOKENIZER, shapes_tokenizer
from dgpo_core.data.requests import CATEGORIES, ENDINGS, OPENINGS, all_requests

SHIPPED = TOKENIZER.parents[1] / "assets" / "shapes-sd3"


def test_every_word_is_one_token_and_every_prompt_fits():
    tokenizer = shapes_tokenizer()
    for category in CATEGORIES:
        for request in all_requests(category):
            prompt = request.wording(max(OPENINGS, key=len), max(ENDINGS, key=len))
            tokens = tokenizer(prompt).input_ids
            assert len(tokens) == len(prompt.split()) + 2 <= NUM_TOKENS
            assert tokenizer.convert_ids_to_tokens(tokens[1:-1]) == [f"{word}</w>" for word in prompt.split()]


def test_the_shipped_tokenizers_number_the_words_as_the_model_learned_them():
    prompt = "a photo of a red circle left of a blue square"
    for name in ("tokenizer", "tokenizer_2"):
        shipped = type(shapes_tokenizer()).from_pretrained(SHIPPED / name)
        assert shipped(prompt).input_ids == shapes_tokenizer()(prompt).input_ids


def test_the_numbers_never_change():
    words = json.loads((TOKENIZER / "vocab.json").read_text(encoding="utf-8"))
    digest = sha256(json.dumps(sorted(words.items())).encode()).hexdigest()
    assert digest.startswith("ed215cf9166dbe03")
