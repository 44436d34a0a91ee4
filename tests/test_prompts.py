"""Prompts pasted by a person, or brought as a file."""

import pytest

from app.prompts import describe_prompts, keep_prompt_file, keep_prompts, kept_files
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


def written(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("name", "text", "words", "kind"),
    [
        ("mine.txt", "a mug\na cat\na cat\n", "2 prompts. 1 repeated lines are left out, such as “a cat”", ".txt"),
        ("mine.JSONL", '{"prompt": "a mug", "text": "HI"}\n"a cat"\n', "2 prompts. 1 have data", ".jsonl"),
        ("mine.csv", 'text,prompt\nHI,a mug\n,"a cat"\n', "2 prompts. 1 have data", ".jsonl"),
    ],
)
def test_a_prompt_file_is_kept_under_its_name_and_read_back(name, text, words, kind, tmp_path):
    path, found = keep_prompt_file(written(tmp_path, name, text), tmp_path / "prompts")
    assert found.startswith(words)
    assert (path.parent, path.name[:5], path.suffix) == (tmp_path / "prompts", "mine-", kind)
    again = load_prompt_set(str(path))
    assert again.prompts == ["a mug", "a cat"]
    assert again.notes == ({"a mug": {"text": "HI"}} if kind == ".jsonl" else {})


def test_geneval_lines_keep_all_that_stands_beside_the_prompt(tmp_path):
    line = '{"tag": "counting", "include": [{"class": "clock", "count": 2}], "prompt": "a photo of two clocks"}\n'
    path, words = keep_prompt_file(written(tmp_path, "evaluation_metadata.jsonl", line), tmp_path / "prompts")
    assert words == "1 prompt. 1 have data beside them."
    notes = load_prompt_set(str(path)).notes["a photo of two clocks"]
    assert notes == {"tag": "counting", "include": [{"class": "clock", "count": 2}]}


def test_a_later_file_of_the_same_name_does_not_write_over_an_earlier_one(tmp_path):
    folder = tmp_path / "prompts"
    paths = [keep_prompt_file(written(tmp_path, "a.txt", text), folder)[0] for text in ("a cat", "a dog", "a cat")]
    assert paths[0] == paths[2] != paths[1]
    keep_prompts("typed", folder)
    assert sorted(kept_files(folder)) == sorted(path.name for path in paths[:2])


@pytest.mark.parametrize(
    "name", ["..txt.txt", "...txt", "~ a;b$(c).txt", "własne 🦊.txt", "\u202e.txt", "x" * 200 + ".txt"]
)
def test_whatever_a_file_is_called_it_stays_in_the_folder(name, tmp_path):
    path, _ = keep_prompt_file(written(tmp_path, name, "a cat"), tmp_path / "prompts")
    assert path.resolve().parent == (tmp_path / "prompts").resolve()
    assert path.name.rsplit("-", 1)[0].replace("-", "").isalnum()
    assert len(path.name.encode()) < 255


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.xlsx", b"PK", r"'a.xlsx' is no prompt file: its name must end in \.txt, \.jsonl, \.ndjson, \.csv, \.tsv"),
        ("a", b"a cat", "is no prompt file"),
        ("a.txt", b"\xff\xfe", "a.txt is not UTF-8 text. Save it as UTF-8"),
        ("a.txt", b" \n", "a.txt holds no prompt"),
        ("a.jsonl", b'{"caption": "a cat"}\n{', "Line 2 of a.jsonl is not JSON"),
        ("a.csv", b"words\na cat\n", "Row 2 of a.csv has no text named prompt"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_a_sentence_and_not_kept(name, content, words, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PromptError, match=words):
        keep_prompt_file(tmp_path / name, tmp_path / "prompts")
    assert not (tmp_path / "prompts").exists()
