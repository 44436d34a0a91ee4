"""What the export and import buttons hand over, and what they answer."""

from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest
from PIL import Image

from app.ui.tabs.exchange import ALL_RUNS, exported, imported, offered
from dgpo_core.config import RunConfig, to_dict


@pytest.fixture
def packed(tmp_path):
    """Two ranked pictures of a prompt."""
    with ZipFile(tmp_path / "mine.zip", "w") as archive:
        for place, colour in ((1, "red"), (2, "blue")):
            buffer = BytesIO()
            Image.new("RGB", (4, 4), colour).save(buffer, "PNG")
            archive.writestr(f"a_cat/{place}.png", buffer.getvalue())
    return str(tmp_path / "mine.zip")


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    return folder


def test_what_was_brought_can_be_taken_out_again_and_our_copy_goes(lab, packed, temporary):
    trouble, done, place = imported(lab, packed, " my taste ")
    assert (trouble, place) == ("", None)
    assert done.startswith("Run 1 holds 1 group, 1 labelled. To learn from them")
    assert lab.reader.run(1).name == "my taste"
    answers = exported(lab, 1, "groups")
    assert next(answers) == ["", {"__type__": "update", "visible": False, "value": None}]
    words, file = next(answers)
    assert (words, file["visible"], Path(file["value"]).name) == ("", True, "run-1-groups.zip")
    assert ZipFile(file["value"]).namelist() == ["0/0/0.png", "0/0/1.png", "groups.jsonl"]
    assert Path(file["value"]).is_relative_to(temporary)
    assert next(answers, None) is None
    assert [*temporary.iterdir()] == []


def test_a_page_that_is_closed_while_the_file_is_made_leaves_nothing(lab, packed, temporary):
    imported(lab, packed, "")
    answers = exported(lab, ALL_RUNS, "csv")
    assert [next(answers), next(answers)][1][0] == ""
    answers.close()
    assert [*temporary.iterdir()] == []


@pytest.mark.parametrize(
    ("run_id", "layout", "words"),
    [
        (None, "groups", "There is no run to export yet."),
        ("1", "groups", "There is no run 1. Known: none."),
        ("the red one", "groups", "'the red one' is no run. Choose one from the list."),
        ("9" * 20, "groups", f"'{'9' * 20}' is no run. Choose one from the list."),
        (ALL_RUNS, "groups", "No run has drawn groups yet."),
        (7, "groups", "There is no run 7. Known: none."),
        (7, "../x", "There is no layout '../x'."),
    ],
)
def test_what_cannot_be_exported_is_said(lab, temporary, run_id, layout, words):
    *_, (said, file) = exported(lab, run_id, layout)
    assert said.startswith(words)
    assert file == {"__type__": "update"}
    assert [*temporary.iterdir()] == []


@pytest.mark.parametrize(("brought", "words"), [(None, "There is no file yet."), ("text", "is neither a .zip nor")])
def test_what_cannot_be_imported_is_said_and_stays_in_its_place(lab, tmp_path, brought, words):
    if brought:
        (tmp_path / "labels.csv").write_text(brought)
        brought = str(tmp_path / "labels.csv")
    said, done, place = imported(lab, brought, "")
    assert words in said
    assert (done, place) == ("", {"__type__": "update"})
    assert lab.reader.runs() == []


def test_a_run_is_named_after_its_file_or_refused(lab, packed):
    imported(lab, packed, "")
    assert lab.reader.run(1).name == "mine"
    assert "name must be 1 to 200 printable characters" in imported(lab, packed, "x" * 201)[0]
    assert len(lab.reader.runs()) == 1


def test_runs_are_offered_newest_first_and_a_choice_stays(lab, writer):
    assert offered(lab.reader, None)["choices"] == []
    for name in ("one", "two"):
        writer.create_run(to_dict(RunConfig(name=name)), 10)
        writer.mark_interrupted()
    choices = [("two (run 2)", 2), ("one (run 1)", 1), ("All runs", ALL_RUNS)]
    assert offered(lab.reader, None) == {"__type__": "update", "choices": choices, "value": 2}
    assert offered(lab.reader, ALL_RUNS)["value"] == ALL_RUNS
    assert offered(lab.reader, 9)["value"] == 2
