"""What lies among the saved models, told from the folders alone."""

import json
import os
from datetime import UTC, datetime

import pytest

from app.saved_models import INDEX_FILE, LORA_FILE, Form, SavedModel, model_folders, model_name, saved_models

SAVED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
INDEX = json.dumps({"_class_name": "StableDiffusion3Pipeline"})


def folder_of(place, name, files, minutes=0):
    """A folder with these files, last written so many minutes after SAVED."""
    for file, text in files.items():
        path = place / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    moment = SAVED.timestamp() + 60 * minutes
    os.utime(place / name, times=(moment, moment))
    return place / name


def test_models_are_told_by_their_names_and_files_newest_first(tmp_path):
    whole = folder_of(tmp_path, model_name(3, 40, as_lora=False), {INDEX_FILE: INDEX, "vae/weights": "12345"})
    lora = folder_of(tmp_path, f"{model_name(12, 7, as_lora=True)}-2", {LORA_FILE: "123"}, minutes=1)
    (tmp_path / "notes.txt").write_text("no model")
    saved = SAVED.isoformat()
    assert saved_models(tmp_path) == [
        SavedModel(folder=lora, run_id=12, step=7, form=Form.LORA, num_bytes=3, saved=saved.replace(":04:", ":05:")),
        SavedModel(folder=whole, run_id=3, step=40, form=Form.WHOLE, num_bytes=len(INDEX) + 5, saved=saved),
    ]
    assert model_folders(tmp_path) == [lora.name, whole.name]


def test_a_model_that_is_being_written_is_called_unfinished_and_stands_first(tmp_path):
    folder_of(tmp_path, "run-1-step-2", {LORA_FILE: "1"})
    unfinished = folder_of(tmp_path, "run-1-step-1.unfinished", {INDEX_FILE: INDEX}, minutes=-5)
    first, _ = saved_models(tmp_path)
    assert first == SavedModel(folder=unfinished, run_id=1, step=1, form=Form.UNFINISHED, num_bytes=None, saved=None)


@pytest.mark.parametrize(
    "files", [{}, {INDEX_FILE: ""}, {INDEX_FILE: "[]"}, {INDEX_FILE: "{}"}, {LORA_FILE: ""}, {"vae/config.json": "{}"}]
)
def test_a_broken_folder_is_listed_as_one_beside_the_others(tmp_path, files):
    (tmp_path / "mine").mkdir()
    folder_of(tmp_path, "mine", files)
    folder_of(tmp_path, "run-1-step-2", {LORA_FILE: "1"}, minutes=-1)
    broken, other = saved_models(tmp_path)
    assert (broken.folder.name, broken.form, broken.run_id, broken.step) == ("mine", Form.BROKEN, None, None)
    assert broken.num_bytes == sum(map(len, files.values()))
    assert (other.run_id, other.step, other.form) == (1, 2, Form.LORA)


def test_text_that_is_no_text_and_links_that_lead_nowhere_break_nothing(tmp_path):
    (tmp_path / "binary").mkdir()
    (tmp_path / "binary" / INDEX_FILE).write_bytes(b"\xff\xfe{")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "binary" / "gone").symlink_to(tmp_path / "nowhere")
    assert [(one.folder.name, one.form) for one in saved_models(tmp_path)] == [("binary", Form.BROKEN)]


def test_where_nothing_was_saved_nothing_is_listed(tmp_path):
    (tmp_path / "file").write_text("")
    assert saved_models(tmp_path / "models") == saved_models(tmp_path / "file") == []
