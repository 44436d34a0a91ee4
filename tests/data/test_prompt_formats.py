"""Prompt files of several formats, and what stands beside the prompts."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgpo_core.data.prompt_formats import kind_of
from dgpo_core.data.prompts import load_prompt_set, parse_prompt_set
from dgpo_core.errors import PromptError

LINES = (
    '{"tag": "counting", "include": [{"class": "dog", "count": 2}], "prompt": "a photo of two dogs"}\n'
    "\n"
    '"a plain one"\n'
    '{"prompt": " \\"HELLO\\" on a mug ", "text": "HELLO"}\n'
)


def test_json_lines_keep_what_stands_beside_a_prompt():
    found = parse_prompt_set(LINES, "jsonl", "here")
    assert found.prompts == ["a photo of two dogs", "a plain one", '"HELLO" on a mug']
    assert found.notes == {
        "a photo of two dogs": {"tag": "counting", "include": [{"class": "dog", "count": 2}]},
        '"HELLO" on a mug': {"text": "HELLO"},
    }
    again = parse_prompt_set(found.as_json_lines(), "jsonl", "here")
    assert (again.prompts, again.notes) == (found.prompts, found.notes)


@pytest.mark.parametrize(("kind", "comma"), [("csv", ","), ("tsv", "\t")])
def test_tables_keep_the_other_columns(tmp_path, kind, comma):
    rows = [("text", "caption", "style"), ("OPEN", '"a ""big"" sign"', "neon"), ("", "a cat", "")]
    path = tmp_path / f"mine.{kind.upper()}"
    path.write_text("\r\n".join(comma.join(row) for row in rows), encoding="utf-8-sig", newline="")
    found = load_prompt_set(str(path))
    assert found.prompts == ['a "big" sign', "a cat"]
    assert found.notes == {'a "big" sign': {"text": "OPEN", "style": "neon"}}


def test_exact_repetitions_are_left_out_and_counted():
    found = parse_prompt_set('"a"\n"b"\n"a"\n{"prompt": "a"}\n"A"\n', "jsonl", "here")
    assert (found.prompts, found.num_repeated) == (["a", "b", "A"], 2)


def test_one_prompt_with_two_different_notes_is_refused():
    with pytest.raises(PromptError, match="here has the prompt 'a' twice, with different data beside it"):
        parse_prompt_set('{"prompt": "a", "text": "x"}\n{"prompt": "a", "text": "y"}', "jsonl", "here")


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ('"a"\n{"prompt": ', "jsonl", "Line 2 of here is not JSON"),
        ('{"words": "a"}', "jsonl", "Line 1 of here has no text named prompt"),
        ('{"prompt": 3}', "jsonl", "Line 1 of here has no text named prompt"),
        ("[1]", "jsonl", "Line 1 of here has no text named prompt"),
        ("[" * 100_000, "jsonl", "Line 1 of here is not JSON: nested too deeply"),
        ("words\na\n", "csv", "Row 2 of here has no text named prompt"),
        ("prompt\na,b\n", "csv", "Row 2 of here has more cells than the heading"),
        ('prompt\n"a', "csv", "here is not a table"),
        ("prompt\n", "csv", "here holds no prompt"),
    ],
)
def test_what_is_not_of_its_format_is_named_by_its_line(text, kind, message):
    with pytest.raises(PromptError, match=message):
        parse_prompt_set(text, kind, "here")


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20), min_size=1))
def test_a_set_written_as_json_lines_is_read_back(texts):
    try:
        found = parse_prompt_set("\n".join(texts), "txt", "here")
    except PromptError:
        return
    again = parse_prompt_set(found.as_json_lines(), "jsonl", "here")
    assert (again.prompts, again.notes) == (found.prompts, found.notes)


def test_a_pasted_text_is_known_by_its_first_letter():
    assert [kind_of(text) for text in ('\n{"prompt": "a"}', "a {b}", "")] == ["jsonl", "txt", "txt"]


def test_a_data_set_on_disk_is_read_without_its_pictures(tmp_path):
    datasets = pytest.importorskip("datasets", reason="the extra of requirements-datasets.txt is not installed")
    data = datasets.Dataset.from_dict({"caption": ["a", "b", "a"], "text": ["A", "B", "A"]})
    data.save_to_disk(tmp_path / "saved")
    found = load_prompt_set(f"datasets:{tmp_path / 'saved'}")
    assert (found.prompts, found.notes, found.num_repeated) == (["a", "b"], {"a": {"text": "A"}, "b": {"text": "B"}}, 1)
    with pytest.raises(PromptError, match="cannot be read"):
        load_prompt_set("datasets:./nowhere/x/y")


def test_a_relative_folder_begins_in_the_lab_folder_else_where_we_are(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="the extra of requirements-datasets.txt is not installed")
    for place in ("lab/mine", "here/mine", "here/other"):
        datasets.Dataset.from_dict({"prompt": [place]}).save_to_disk(tmp_path / place)
    monkeypatch.chdir(tmp_path / "here")
    found = [load_prompt_set(f"datasets:{name}", tmp_path / "lab").prompts for name in ("mine", "other")]
    assert found == [["lab/mine"], ["here/other"]]


@pytest.fixture
def datasets(tmp_path, monkeypatch):
    """The library, with its cache in a folder of the test."""
    library = pytest.importorskip("datasets", reason="the extra of requirements-datasets.txt is not installed")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return library


def write_parquet(datasets, path, prompts):
    datasets.Dataset.from_dict({"prompt": prompts, "text": [one.upper() for one in prompts]}).to_parquet(path)


def write_json_lines(datasets, path, prompts):
    path.write_text("".join(f'{{"prompt": "{one}", "text": "{one.upper()}"}}\n' for one in prompts), encoding="utf-8")


@pytest.mark.parametrize(("write", "ending"), [(write_parquet, "parquet"), (write_json_lines, "jsonl")])
def test_a_folder_of_plain_files_is_read_by_its_splits(datasets, tmp_path, write, ending):
    (tmp_path / "lab" / "mine").mkdir(parents=True)
    for split, prompts in (("train", ["a", "b"]), ("test", ["c"])):
        write(datasets, tmp_path / "lab" / "mine" / f"{split}.{ending}", prompts)
    train, test = (load_prompt_set(f"datasets:mine{part}", tmp_path / "lab") for part in ("", "@test"))
    assert (train.prompts, train.notes) == (["a", "b"], {"a": {"text": "A"}, "b": {"text": "B"}})
    assert (test.prompts, test.notes) == (["c"], {"c": {"text": "C"}})
    with pytest.raises(
        PromptError, match=r"datasets:mine@other cannot be read: .*other.*\. Check its name and split\."
    ):
        load_prompt_set("datasets:mine@other", tmp_path / "lab")


def test_splits_that_were_saved_together_are_read_by_their_names(datasets, tmp_path):
    parts = {name: datasets.Dataset.from_dict({"prompt": [f"{name} prompt"]}) for name in ("train", "test")}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    found = [load_prompt_set(f"datasets:saved{part}", tmp_path).prompts for part in ("", "@test")]
    assert found == [["train prompt"], ["test prompt"]]


def test_a_folder_without_data_is_refused_in_one_sentence(datasets, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PromptError, match=r"datasets:empty cannot be read: .*\. Check its name and split\."):
        load_prompt_set("datasets:empty", tmp_path)


def test_a_data_set_that_is_a_script_is_refused_in_one_sentence(tmp_path):
    pytest.importorskip("datasets", reason="the extra of requirements-datasets.txt is not installed")
    (tmp_path / "mine.py").write_text("", encoding="utf-8")
    with pytest.raises(PromptError, match=r"mine\.py cannot be read: .*scripts.*\. Choose a data set of plain files"):
        load_prompt_set(f"datasets:{tmp_path / 'mine.py'}")


def test_a_missing_library_is_said_with_its_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        PromptError, match=r"needs the library datasets\. Install it: \.venv/bin/python -m pip install .*datasets\.txt"
    ):
        load_prompt_set("datasets:someone/something")
