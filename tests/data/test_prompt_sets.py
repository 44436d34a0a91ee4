from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base_model import prompt_sets
from dgpo_core.data.prompts import (
    MAX_CHARACTERS,
    MAX_PROMPTS,
    SHIPPED,
    check_disjoint,
    load_prompts,
    parse_prompts,
    shipped_names,
)
from dgpo_core.data.requests import CATEGORIES, parse_request
from dgpo_core.errors import PromptError


def test_the_shipped_sets_are_written_byte_for_byte_by_their_script(tmp_path, monkeypatch):
    monkeypatch.setattr(prompt_sets, "SHIPPED", tmp_path)
    prompt_sets.write_prompt_sets()
    written = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert written == {name: (SHIPPED / name).read_bytes() for name in ("shapes-train.txt", "shapes-heldout.txt")}


def test_held_out_prompts_are_100_of_each_category_and_none_is_trained_on():
    train, heldout = load_prompts("shapes-train"), load_prompts("shapes-heldout")
    assert Counter(parse_request(prompt).category for prompt in heldout) == dict.fromkeys(CATEGORIES, 100)
    assert Counter(parse_request(prompt).category for prompt in train) == prompt_sets.NUM_TRAIN
    assert not set(train) & set(heldout)
    check_disjoint(train, heldout)


def test_whole_scenes_are_held_out_where_there_are_many_in_whatever_order_they_are_named():
    train, heldout = (
        {parse_request(prompt).scene() for prompt in load_prompts(f"shapes-{name}")} for name in ("train", "heldout")
    )
    shared = Counter(request.category for request in train & heldout)
    assert shared.keys() == {"single", "counting"}


@pytest.mark.parametrize(("name", "length"), [("shapes-train", 100), ("shapes-heldout", 60)])
def test_any_stretch_of_a_set_holds_all_categories(name, length):
    prompts = load_prompts(name)
    for start in range(0, len(prompts) - length, length // 2):
        assert {parse_request(prompt).category for prompt in prompts[start : start + length]} == set(CATEGORIES)


def test_lines_are_taken_in_order_without_blanks_and_repetitions():
    assert parse_prompts("  b \n\n a\r\nb\n\tc d\n   ", "here") == ["b", "a", "c d"]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20), max_size=20))
def test_what_comes_back_is_stripped_not_empty_and_there_once(lines):
    try:
        prompts = parse_prompts("\n".join(lines), "here")
    except PromptError:
        assert not "".join(lines).strip()
        return
    assert len(set(prompts)) == len(prompts) > 0
    assert all(prompt == prompt.strip() != "" for prompt in prompts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"here holds no prompt\. Write one prompt per line\."),
        ("\n \t\n", r"here holds no prompt\."),
        (
            "\n".join(map(str, range(MAX_PROMPTS + 1))),
            r"here holds 100001 prompts; at most 100000 are allowed\. Use fewer",
        ),
        ("a\nb\0c", r"Prompt 2 of here holds a NUL or half a surrogate pair, which no text has\. Remove it\."),
        ("a\n\ud83d", r"Prompt 2 of here holds a NUL or half a surrogate pair"),
        ("a" * (MAX_CHARACTERS + 1), r"Prompt 1 of here has 2001 characters; at most 2000 are allowed\. Shorten it\."),
    ],
)
def test_text_that_cannot_be_used_is_refused(text, message):
    with pytest.raises(PromptError, match=message):
        parse_prompts(text, "here")


def test_as_many_prompts_as_allowed_are_allowed():
    assert len(parse_prompts("\n".join(map(str, range(MAX_PROMPTS))) + "\n0", "here")) == MAX_PROMPTS


@pytest.mark.parametrize(
    "prompt", ["<script>alert(1)</script>", "دائرة حمراء", "🙂🏽", "{{x}} ${y} %s", "a" * MAX_CHARACTERS, "‮abc"]
)
def test_unusual_prompts_are_kept_as_they_are(tmp_path, prompt):
    (tmp_path / "mine.txt").write_text(prompt + "\n", encoding="utf-8")
    assert load_prompts("mine.txt", tmp_path) == [prompt]


def test_a_byte_order_mark_is_no_part_of_the_first_prompt(tmp_path):
    (tmp_path / "mine.txt").write_bytes(b"\xef\xbb\xbfa ring\r\na cross\r\n")
    assert load_prompts("mine.txt", tmp_path) == ["a ring", "a cross"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "mine.txt holds no prompt"),
        (b"\xff\xfea\0", r"mine\.txt is not UTF-8 text\. Save it as UTF-8, one prompt per line\."),
        (b"\x89PNG\r\n\x1a\n\0\0", r"mine\.txt is not UTF-8 text"),
        (b"a\0b", "Prompt 1 of mine.txt holds a NUL"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path, content, message):
    (tmp_path / "mine.txt").write_bytes(content)
    with pytest.raises(PromptError, match=message):
        load_prompts(str(tmp_path / "mine.txt"))


@pytest.mark.parametrize("name", ["nothing.txt", ".", "a/b/c", "", "with\0nul", "half\ud800", "../nothing"])
def test_a_file_that_is_not_there_is_refused_with_the_sets_there_are(tmp_path, name):
    known = r"Known sets: .*shapes-heldout, shapes-train"
    with pytest.raises(PromptError, match=rf"There is no prompt set or file .*\. {known}"):
        load_prompts(name, tmp_path)


def test_a_name_too_long_for_a_file_is_refused(tmp_path):
    with pytest.raises(PromptError, match=r"cannot be read: File name too long\. Check the file\."):
        load_prompts("x" * 300, tmp_path)


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("a")
    with pytest.raises(PromptError, match="There is no prompt set or file"):
        load_prompts("file/inside", tmp_path)


def test_a_shipped_name_means_the_shipped_set_wherever_one_stands(tmp_path):
    (tmp_path / "shapes-train").write_text("another")
    assert load_prompts("shapes-train", tmp_path) == load_prompts("shapes-train")
    assert {"shapes-train", "shapes-heldout"} <= set(shipped_names())


def test_sets_that_share_a_prompt_are_refused():
    with pytest.raises(PromptError, match=r"2 held-out prompts are also trained on, first 'b'\. Take them out"):
        check_disjoint(["c", "b", "a"], ["x", "c", "b"])
