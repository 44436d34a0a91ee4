"""Memory in words, as pages ask for it, and what a run took of it."""

import sys
from contextlib import closing
from threading import Thread

import pytest
import torch
from lab_folder import PATIENCE_SECONDS

from app.reckoning import Reckoning, gpu_peak, memory_in_words
from app.runner import Runner
from app.settings import Settings
from app.store.reader import Reader
from app.store.writer import Writer
from dgpo_core.assembly import expected_memory
from dgpo_core.config import from_dict
from dgpo_core.errors import ModelError
from dgpo_core.events import MemoryTaken


def config(folder, **update):
    return from_dict({"model": {"folder": str(folder), "lora_rank": 2}, "update": update})


def test_pages_are_told_what_the_command_line_is_told_and_more_pictures_take_more(model_folder, tmp_path):
    reckoning = Reckoning(tmp_path)
    few, many = (reckoning.in_words(config(model_folder, micro_batch=size)) for size in (4, 4096))
    assert few == memory_in_words(config(model_folder, micro_batch=4))
    assert few.startswith("About 0.")
    assert few != many


def test_the_first_reckoning_loads_what_a_run_needs_so_that_start_need_not(model_folder, tmp_path, monkeypatch):
    import dgpo_core
    import dgpo_core.assembly
    import dgpo_core.trainer

    needed = ("assembly", "trainer")
    for name in needed:
        monkeypatch.setattr(dgpo_core, name, getattr(dgpo_core, name))  # afterwards everything is as it was
        monkeypatch.delitem(sys.modules, f"dgpo_core.{name}")
    Reckoning(tmp_path).in_words(config(model_folder))
    assert all(f"dgpo_core.{name}" in sys.modules for name in needed)


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


def diary_of_a_run(folder, config, gpu):
    """What the diary of a short run says, as (kind, step, message); gpu reads the peak."""
    settings = Settings(folder=folder)
    with Writer(settings.database) as writer, closing(Reader(settings.database)) as reader:
        runner = Runner(settings, reader, writer, gpu=gpu)
        run_id = runner.start(config)
        assert runner.wait(PATIENCE_SECONDS)
        runner.close()
        return [(row.kind, row.step, row.message) for row in reader.diary(run_id)]


def test_a_run_says_what_it_took_after_its_first_step_and_at_its_end_beside_what_was_expected(tmp_path, config_of):
    peaks = iter([(3_000_000, 5_000_000), (4_000_000, 6_000_000)])
    diary = diary_of_a_run(tmp_path, config_of(), lambda: lambda: next(peaks))
    expected = expected_memory(config_of(), tmp_path).peak
    first = MemoryTaken(step=0, taken=3_000_000, pool=5_000_000, expected=expected)
    last = MemoryTaken(step=2, taken=4_000_000, pool=6_000_000, expected=expected)
    assert [line for line in diary if line[0] == "memory"] == [
        ("memory", 0, first.in_words()),
        ("memory", 2, last.in_words()),
    ]
    assert [kind for kind, _, _ in diary][-2:] == ["memory", "ended"]


def test_without_a_gpu_a_run_says_nothing_of_memory(tmp_path, config_of):
    assert (gpu_peak() is None) is not torch.cuda.is_available()
    diary = diary_of_a_run(tmp_path, config_of(), lambda: None)
    assert (diary[-1][0], [kind for kind, _, _ in diary if kind == "memory"]) == ("ended", [])


@pytest.mark.parametrize(
    ("taken", "uncounted", "words"),
    [
        (12e9, (), "about 11.4 GB were expected, 5% less."),
        (10e9, ("ocr", "my.py"), "about 11.4 GB were expected, without ocr, my.py, 14% more."),
        (11.42e9, (), "about 11.4 GB were expected, the same."),
        (0, (), "about 11.4 GB were expected, the same."),
    ],
)
def test_what_was_taken_is_said_in_one_line_with_what_was_expected(taken, uncounted, words):
    event = MemoryTaken(step=1, taken=int(taken), pool=17_900_000_000, expected=11_400_000_000, uncounted=uncounted)
    begin, end = f"Took {taken / 1e9:.1f} GB of the GPU's memory at most so far; ", "torch keeps ready it was 17.9 GB."
    assert event.in_words() == f"{begin}{words} With what {end}"
