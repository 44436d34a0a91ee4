import errno
import json
import os
import pickle
import resource
import shutil
from contextlib import suppress
from itertools import count

import pytest
import torch
from safetensors.torch import save_file

from dgpo_core import checkpoint as module
from dgpo_core.checkpoint import (
    Checkpoint,
    checkpoint_folders,
    drop_old_checkpoints,
    find_damage,
    load_checkpoint,
    newest_checkpoint,
    same_numbers,
    save_checkpoint,
    size_of,
    step_of,
)
from dgpo_core.errors import CheckpointError

IDENTITY = {"architecture": "sd3", "transformer": "abc", "lora_rank": 4, "lora_alpha": 8}


def a_checkpoint(step, value=None, **changes):
    value = float(step) if value is None else value
    tensors = {"policy/a.lora_A": torch.full((3, 2), value), "adam/step/a.lora_A": torch.tensor(float(step))}
    known = {
        "step": step,
        "tensors": tensors,
        "identity": IDENTITY,
        "config": {"name": "run", "loss": {"kl_weight": 0.5}},
        "versions": {"torch": "2"},
    }
    return Checkpoint(**known | changes)


def value_of(folder):
    return float(load_checkpoint(folder, IDENTITY).tensors["policy/a.lora_A"][0, 0])


def test_what_is_saved_comes_back_bit_for_bit(tmp_path):
    numbers = torch.tensor([0.1, -0.0, 1e-45, 3e38, -1e-7])
    saved = a_checkpoint(7, tensors={"a": numbers, "b": numbers[::2], "c": torch.arange(3), "d": torch.tensor(7.0)})
    folder = save_checkpoint(tmp_path / "not" / "yet", saved)
    assert folder == tmp_path / "not" / "yet" / "step-000007"
    found = load_checkpoint(folder, IDENTITY)
    assert same_numbers(found.tensors) == same_numbers(saved.tensors)
    assert (found.step, dict(found.identity), found.config, found.versions) == (
        7,
        IDENTITY,
        saved.config,
        saved.versions,
    )
    assert find_damage(folder) == ""
    assert size_of(folder) == sum(len(file.read_bytes()) for file in folder.iterdir())
    assert sorted(file.name for file in folder.iterdir()) == ["manifest.json", "state.json", "tensors.safetensors"]


def test_the_hash_of_numbers_sees_every_bit_and_every_name():
    one = {"a": torch.tensor([0.0, 1.0]), "b": torch.tensor(2.0)}
    assert same_numbers(one) == same_numbers(dict(reversed(one.items())))
    others = [
        one | {"a": torch.tensor([-0.0, 1.0])},
        one | {"a": torch.tensor([1.0, 0.0])},
        {"a": one["a"], "c": one["b"]},
        {"a": one["a"]},
    ]
    assert len({same_numbers(other) for other in [one, *others]}) == 5


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def sign(folder):
    """Makes the manifest fit the files, as somebody who means it would."""
    names = ("tensors.safetensors", "state.json")
    manifest = {name: module._sha256(folder / name) for name in names}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def signed_state(**changes):
    def change(folder):
        state = json.loads((folder / "state.json").read_text())
        (folder / "state.json").write_text(json.dumps(state | changes))
        sign(folder)

    return change


def signed_text(text):
    def change(folder):
        (folder / "state.json").write_text(text)
        sign(folder)

    return change


def signed_tensors(tensors):
    def change(folder):
        save_file(tensors, folder / "tensors.safetensors")
        sign(folder)

    return change


def signed_garbage(folder):
    (folder / "tensors.safetensors").write_bytes(b"\xff" * 100)
    sign(folder)


def on(name, damage):
    return lambda folder: damage(folder / name)


def swap_for_a_folder(path):
    path.unlink()
    path.mkdir()


FOUND_BY_HASH = {
    "manifest missing": (on("manifest.json", os.unlink), "manifest.json is missing"),
    "state missing": (on("state.json", os.unlink), "state.json is missing"),
    "tensors missing": (on("tensors.safetensors", os.unlink), "tensors.safetensors is missing"),
    "tensors truncated": (on("tensors.safetensors", cut), "tensors.safetensors is not as it was written"),
    "a bit of tensors flipped": (on("tensors.safetensors", flip_a_bit), "tensors.safetensors is not as it was written"),
    "a bit of state flipped": (on("state.json", flip_a_bit), "state.json is not as it was written"),
    "state truncated": (on("state.json", cut), "state.json is not as it was written"),
    "manifest truncated": (on("manifest.json", cut), "its manifest is damaged"),
    "manifest empty": (lambda folder: (folder / "manifest.json").write_bytes(b""), "its manifest is damaged"),
    "manifest binary": (lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe"), "its manifest is damaged"),
    "manifest a list": (lambda folder: (folder / "manifest.json").write_text("[]"), "its manifest is damaged"),
    "manifest of other files": (
        lambda folder: (folder / "manifest.json").write_text('{"../../secret": "00"}'),
        "its manifest is damaged",
    ),
    "manifest of huge numbers": (
        lambda folder: (folder / "manifest.json").write_text("9" * 5000),
        "its manifest is damaged",
    ),
    "tensors are a folder": (on("tensors.safetensors", swap_for_a_folder), "it cannot be read"),
    "manifest is a folder": (on("manifest.json", swap_for_a_folder), "it cannot be read"),
    "all gone": (lambda folder: [file.unlink() for file in folder.iterdir()], "manifest.json is missing"),
    "a file in its place": (lambda folder: (shutil.rmtree(folder), folder.write_text("x")), "it cannot be read"),
}
FOUND_BY_READING = {
    "newer format": (signed_state(format=2), "has format 2; this lab reads up to 1. Upgrade the lab"),
    "format is text": (signed_state(format="1"), "state.json is not of this lab"),
    "step is text": (signed_state(step="7"), "state.json is not of this lab"),
    "config missing": (signed_text('{"format": 1, "step": 1}'), "state.json is not of this lab"),
    "state a list": (signed_text("[]"), "state.json is not of this lab"),
    "state not JSON": (signed_text("{"), "state.json cannot be read"),
    "another model": (
        signed_state(identity=IDENTITY | {"lora_rank": 8}),
        "belongs to another model: lora_rank differ. Choose the model",
    ),
    "a model of other kind": (signed_state(identity={}), "belongs to another model: architecture"),
    "NaN inside": (signed_tensors({"a": torch.tensor([1.0, torch.nan])}), "holds numbers that are not finite"),
    "infinity inside": (signed_tensors({"a": torch.tensor([-torch.inf])}), "holds numbers that are not finite"),
    "no safetensors at all": (signed_garbage, "tensors.safetensors cannot be read"),
}


@pytest.mark.parametrize("name", FOUND_BY_HASH)
def test_a_damaged_checkpoint_is_refused_and_an_older_one_found(tmp_path, name):
    damage, message = FOUND_BY_HASH[name]
    older, newer = (save_checkpoint(tmp_path, a_checkpoint(step)) for step in (9, 10))
    damage(newer)
    assert message in find_damage(newer)
    with pytest.raises(CheckpointError, match=rf"The checkpoint step-000010 cannot be used: .*{message}") as refusal:
        load_checkpoint(newer, IDENTITY)
    assert str(refusal.value).endswith("Choose another one.")
    assert newest_checkpoint(tmp_path) == older


@pytest.mark.parametrize("name", FOUND_BY_READING)
def test_a_checkpoint_that_is_whole_but_wrong_is_refused(tmp_path, name):
    damage, message = FOUND_BY_READING[name]
    folder = save_checkpoint(tmp_path, a_checkpoint(10))
    damage(folder)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder, IDENTITY)


def test_a_missing_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"step-000003 cannot be used: manifest\.json is missing\. Choose"):
        load_checkpoint(tmp_path / "step-000003")
    assert newest_checkpoint(tmp_path / "nowhere") is None
    assert checkpoint_folders(tmp_path / "nowhere") == []


class Exploding:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("name", ["optimizer.pt", "tensors.pkl", "tensors.bin", "state.pickle"])
def test_a_pickle_beside_the_files_is_never_opened(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    folder = save_checkpoint(tmp_path, a_checkpoint(1))
    (folder / name).write_bytes(pickle.dumps(Exploding()))
    assert value_of(folder) == 1
    assert not (tmp_path / "exploded").exists()


def test_a_pickle_in_the_place_of_the_tensors_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = save_checkpoint(tmp_path, a_checkpoint(1))
    (folder / "tensors.safetensors").write_bytes(pickle.dumps(Exploding()))
    sign(folder)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(folder)
    assert not (tmp_path / "exploded").exists()


def test_a_newest_checkpoint_that_the_disk_does_not_give_is_not_passed_over(tmp_path):
    for step in (1, 2):
        save_checkpoint(tmp_path, a_checkpoint(step))
    manifest = tmp_path / "step-000002" / "manifest.json"
    manifest.unlink()
    manifest.symlink_to(manifest)
    with pytest.raises(CheckpointError, match=r"step-000002 cannot be read \(.*\), and may be whole\. Nothing"):
        newest_checkpoint(tmp_path)
    manifest.unlink()
    assert newest_checkpoint(tmp_path) == tmp_path / "step-000001"


def test_checkpoints_are_listed_by_number_and_nothing_else_is(tmp_path):
    for step in (1_000_000, 2, 999_999, 10):
        save_checkpoint(tmp_path, a_checkpoint(step))
    for other in ("step-000004.partial", "step-5", "step-000006x", "steps"):
        (tmp_path / other).mkdir()
    assert [step_of(folder) for folder in checkpoint_folders(tmp_path)] == [2, 10, 999_999, 1_000_000]


@pytest.mark.parametrize("kept", [1, 2, 5])
def test_all_but_the_newest_are_dropped_with_what_was_left_unfinished(tmp_path, kept):
    for step in range(5):
        save_checkpoint(tmp_path, a_checkpoint(step))
    for leftover in ("step-000009.partial", "step-000004.replaced"):
        (tmp_path / leftover).mkdir()
        (tmp_path / leftover / "tensors.safetensors").write_text("half")
    dropped = drop_old_checkpoints(tmp_path, kept, 4)
    assert [step_of(folder) for folder in dropped] == list(range(5 - kept))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"step-{step:06d}" for step in range(5 - kept, 5)]


def test_damaged_checkpoints_beyond_the_step_do_not_push_the_newest_whole_one_out(tmp_path):
    save_checkpoint(tmp_path, a_checkpoint(50))
    flip_a_bit(tmp_path / "step-000050" / "tensors.safetensors")
    save_checkpoint(tmp_path, a_checkpoint(25))
    assert [step_of(folder) for folder in drop_old_checkpoints(tmp_path, 1, 25)] == [50]
    assert newest_checkpoint(tmp_path) == tmp_path / "step-000025"


class Killed(BaseException):
    """Stands for the end of the process: nothing of ours catches it."""


FILE_OPERATIONS = ("replace", "fsync", "mkdir", "unlink", "rmdir", "chmod", "open")


def breaking(monkeypatch, error):
    """Makes the n-th file operation raise; begin(n) starts the count, and tells whether it was reached."""
    state = {"left": 0, "was_reached": False}

    def counted(operation):
        def call(*arguments, **options):
            if state["left"]:
                state["left"] -= 1
                if state["left"] == 0:
                    state["was_reached"] = True
                    raise error
            return operation(*arguments, **options)

        return call

    for name in FILE_OPERATIONS:
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    monkeypatch.setattr(module, "save_file", counted(module.save_file))
    monkeypatch.setattr(module.Path, "write_text", counted(module.Path.write_text))

    def begin(number):
        state.update(left=number, was_reached=False)
        return state

    return begin


def save_twice_and_drop(folder, done):
    """One checkpoint, the same step saved again, a newer one, and the older ones dropped; done notes what was."""
    save_checkpoint(folder, a_checkpoint(2, 2.0))
    done.append(2.0)
    save_checkpoint(folder, a_checkpoint(2, 2.5))
    done.append(2.5)
    save_checkpoint(folder, a_checkpoint(3, 3.0))
    done.append(3.0)
    drop_old_checkpoints(folder, 1, 3)


def at_every_file_operation(tmp_path, monkeypatch, error):
    """Folders in which save_twice_and_drop broke off at its first, second ... file operation, with what was done."""
    begin = breaking(monkeypatch, error)
    for number in count(1):
        folder = tmp_path / str(number)
        save_checkpoint(folder, a_checkpoint(1))
        done = [1.0]
        state = begin(number)
        with suppress(Killed, CheckpointError):
            save_twice_and_drop(folder, done)
        was_reached = state["was_reached"]
        begin(0)
        yield number, folder, done
        if not was_reached:
            return


def test_a_kill_at_any_file_operation_loses_no_finished_checkpoint(tmp_path, monkeypatch):
    for number, folder, done in at_every_file_operation(tmp_path, monkeypatch, Killed()):
        newest = newest_checkpoint(folder)
        assert newest is not None, number
        # What was being written may be there already, whole; never less than what was finished.
        assert done[-1] <= value_of(newest) <= 3.0, number
        save_checkpoint(folder, a_checkpoint(2, 2.75))
        save_checkpoint(folder, a_checkpoint(4))
        drop_old_checkpoints(folder, 1, 4)
        assert [path.name for path in folder.iterdir()] == ["step-000004"], number
    assert number > 60


def test_a_failure_of_any_file_operation_leaves_the_finished_checkpoints(tmp_path, monkeypatch):
    error = OSError(errno.ENOSPC, "No space left on device")
    for number, folder, done in at_every_file_operation(tmp_path, monkeypatch, error):
        newest = newest_checkpoint(folder)
        assert newest is not None, number
        assert done[-1] <= value_of(newest) <= 3.0, number
        assert not list(folder.glob("*.partial")) or done[-1] == 3.0, number


def test_a_save_that_fails_says_why_and_what_to_do(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, a_checkpoint(1))

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"of step 2 could not be written to .*No space left.*Free some disk"):
        save_checkpoint(tmp_path, a_checkpoint(2))
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path):
    save_checkpoint(tmp_path, a_checkpoint(1))
    large = a_checkpoint(2, tensors={"a": torch.zeros(300_000)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(CheckpointError, match=r"Older checkpoints are untouched\. Free some disk space"):
            save_checkpoint(tmp_path, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]
    assert value_of(save_checkpoint(tmp_path, a_checkpoint(1, 5.0))) == 5.0


def test_a_folder_that_is_a_file_cannot_be_saved_to(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(CheckpointError, match="could not be written"):
        save_checkpoint(tmp_path / "checkpoints", a_checkpoint(1))
