"""Prompts pasted by a person."""

import pytest

from app.prompts import describe_prompts, keep_prompts
from dgpo_core.data.prompts import load_prompt_set, load_prompts
from dgpo_core.errors import PromptError, StoreError

HOSTILE = ["<img src=x onerror=alert(1)>", "${alert(1)} {{value}}", "\u202eright to left", "🦊👩‍👩‍👧", "C:\\temp `x`"]


def test_prompts_are_kept_as_they_were_typed_and_the_trainer_reads_them_back(tmp_path):
    path = keep_prompts("\n".join(HOSTILE), tmp_path / "prompts")
    assert load_prompts(str(path)) == HOSTILE


def test_the_same_prompts_are_kept_once(tmp_path):
    paths = {keep_prompts(text, tmp_path) for text in ("a cat\na dog", " a cat \r\n\r\na dog\n", "a cat\na dog\na cat")}
    assert list(tmp_path.iterdir()) == list(paths)


def test_pasted_json_lines_keep_what_stands_beside_the_prompts(tmp_path):
    text = '{"prompt": "a mug", "text": "HI"}\n{"prompt": "a cat"}\n'
    assert describe_prompts(text) == "2 prompts. 1 have data beside them."
    found = load_prompt_set(str(keep_prompts(text, tmp_path)))
    assert (found.prompts, found.notes) == (["a mug", "a cat"], {"a mug": {"text": "HI"}})


def test_a_hundred_thousand_prompts_are_fine_and_one_more_is_not(tmp_path):
    lines = [f"picture {number}" for number in range(100_000)]
    assert describe_prompts("\n".join(lines)) == "100,000 prompts."
    assert len(load_prompts(str(keep_prompts("\n".join(lines), tmp_path)))) == 100_000
    with pytest.raises(PromptError, match="100001 prompts; at most 100000"):
        keep_prompts("\n".join([*lines, "one more"]), tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a cat", "1 prompt."),
        ("a cat\na dog\n\n", "2 prompts."),
        ("a cat\na dog\na cat\na cat", "2 prompts. 2 repeated lines are left out, such as “a cat” (given 3 times)."),
    ],
)
def test_what_was_pasted_is_described(text, words):
    assert describe_prompts(text) == words


@pytest.mark.parametrize("text", ["", " \n\t\n", "a\0cat", "half \ud800 a character", "x" * 2001])
def test_what_no_encoder_reads_is_refused_and_nothing_is_kept(text, tmp_path):
    with pytest.raises(PromptError, match="The pasted text"):
        keep_prompts(text, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "prompts").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=r"The prompts cannot be kept in .*prompts"):
        keep_prompts("a cat", tmp_path / "prompts")
