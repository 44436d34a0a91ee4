"""Memory in words, as pages ask for it."""

from threading import Thread

import pytest

from app.reckoning import Reckoning, memory_in_words
from dgpo_core.config import from_dict
from dgpo_core.errors import ModelError


def config(folder, **update):
    return from_dict({"model": {"folder": str(folder), "lora_rank": 2}, "update": update})


def test_pages_are_told_what_the_command_line_is_told_and_more_pictures_take_more(model_folder, tmp_path):
    reckoning = Reckoning(tmp_path)
    few, many = (reckoning.in_words(config(model_folder, micro_batch=size)) for size in (4, 4096))
    assert few == memory_in_words(config(model_folder, micro_batch=4))
    assert few.startswith("About 0.")
    assert few != many


def test_nothing_is_reckoned_twice_until_models_may_have_changed(model_folder, tmp_path):
    reckoning, answers = Reckoning(tmp_path), []
    asked = [Thread(target=lambda: answers.append(reckoning.in_words(config(model_folder)))) for _ in range(3)]
    for thread in asked:
        thread.start()
    for thread in asked:
        thread.join()
    assert answers[0] is answers[1] is answers[2]
    reckoning.forget()
    again = reckoning.in_words(config(model_folder))
    assert again == answers[0]
    assert again is not answers[0]


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("no/such/folder/here", r"There is no model in no/such/folder/here: it has no model_index\.json"),
        ("nobody/never-fetched", r"The model nobody/never-fetched is neither a folder here nor fetched before.*Start"),
    ],
)
def test_a_model_that_is_not_there_is_told_and_nothing_is_fetched(folder, words, tmp_path):
    with pytest.raises(ModelError, match=words):
        Reckoning(tmp_path).in_words(config(folder))


def test_one_file_needs_to_be_told_what_it_is_part_of(tmp_path, model_folder):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    with pytest.raises(ModelError, match=r"is one file, .* Set model\.parts_from"):
        Reckoning(tmp_path).in_words(config(file))
    described = from_dict({"model": {"folder": str(file), "parts_from": str(model_folder), "lora_rank": 2}})
    assert Reckoning(tmp_path).in_words(described) == memory_in_words(config(model_folder))
