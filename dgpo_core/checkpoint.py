"""Checkpoints: everything a run needs to go on bit for bit, written so that a kill at any moment loses none.

A checkpoint is a folder step-NNNNNN with tensors.safetensors, state.json and, last, manifest.json
with the others' SHA-256. It is written as step-NNNNNN.partial, synced, and renamed; the one it takes the place
of is step-NNNNNN.replaced until then.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dgpo_core.errors import CheckpointError

FORMAT = 1
_NAME = re.compile(r"step-(\d{6,})")
_PARTIAL, _REPLACED = ".partial", ".replaced"
_TENSORS, _STATE, _MANIFEST = "tensors.safetensors", "state.json", "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What is saved: all tensors by name, and the rest as JSON values.

    identity is what a model must match; config the run's settings; versions those of the libraries; watch what later
    examinations are compared with (dgpo_core/vigil.py), empty in checkpoints from before it was saved.
    """

    step: int
    tensors: dict[str, Tensor]
    identity: Mapping[str, str | int]
    config: dict[str, Any]
    versions: dict[str, str]
    watch: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes the checkpoint under folder and returns its own folder.

    Raises:
        CheckpointError: the disk is full or not writable; older checkpoints are untouched.
    """
    final = folder / f"step-{checkpoint.step:06d}"
    partial = folder / f"{final.name}{_PARTIAL}"
    _put_back(folder)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _write(checkpoint, partial)
        _exchange(partial, final)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        _put_back(folder)
        raise CheckpointError(
            f"The checkpoint of step {checkpoint.step} could not be written to {folder}: {error}. "
            "Older checkpoints are untouched. Free some disk space and save again."
        ) from error
    return final


def load_checkpoint(folder: Path, identity: Mapping[str, str | int] | None = None) -> Checkpoint:
    """The checkpoint in its folder, verified; with an identity, only if it fits that model.

    Raises:
        CheckpointError: torn, altered, of a newer format, or of another model. Nothing is half loaded.
    """
    problem = find_damage(folder)
    if problem:
        raise _unusable(folder, problem)
    state = _read_state(folder)
    if identity is not None:
        check_identity(folder.name, state["identity"], identity)
    try:
        tensors = load_file(folder / _TENSORS)
    except (OSError, SafetensorError) as error:
        raise _unusable(folder, f"{_TENSORS} cannot be read ({error})") from error
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise _unusable(folder, "it holds numbers that are not finite")
    return Checkpoint(
        step=state["step"],
        tensors=tensors,
        identity=state["identity"],
        config=state["config"],
        versions=state["versions"],
        watch=state.get("watch", {}),
    )


def check_identity(name: str, saved: Mapping[str, str | int], identity: Mapping[str, str | int]) -> None:
    """Raises CheckpointError where the checkpoint of that name, whose model's identity is saved, is of another one."""
    if dict(identity) != dict(saved):
        differing = [key for key in identity if identity[key] != saved.get(key)]
        raise CheckpointError(
            f"The checkpoint {name} belongs to another model: {', '.join(differing)} differ. "
            "Choose the model and the LoRA settings that it was made with."
        )


def find_damage(folder: Path) -> str:
    """What is wrong with a checkpoint's files, in words; empty when every file is as it was written."""
    try:
        return _damage(folder)
    except OSError as error:
        return f"it cannot be read ({error.strerror})"


def _damage(folder: Path) -> str:
    """As find_damage, but an OSError passes through: the file may be whole, and the disk may not."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(manifest, dict) or set(manifest) != {_TENSORS, _STATE}:
            return "its manifest is damaged"
        for name, digest in manifest.items():
            if _sha256(folder / name) != digest:
                return f"{name} is not as it was written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except ValueError:
        return "its manifest is damaged"
    return ""


def checkpoint_folders(folder: Path) -> list[Path]:
    """Whole checkpoints under folder, oldest first, damaged or not; unfinished ones are not listed."""
    _put_back(folder)
    return sorted((path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)), key=step_of)


def step_of(folder: Path) -> int:
    """The step of a checkpoint, by the name of its folder."""
    return int(folder.name.removeprefix("step-"))


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint without damage, or None.

    Raises:
        CheckpointError: the disk does not give one that is newer than all known to be whole. It may be sound, and a run
            taken up from an older one would remove it.
    """
    return next((path for path in reversed(checkpoint_folders(folder)) if _is_whole(path)), None)


def _is_whole(folder: Path) -> bool:
    try:
        return not _damage(folder)
    except (IsADirectoryError, NotADirectoryError):
        return False
    except OSError as error:
        raise CheckpointError(
            f"Checkpoint {folder} cannot be read ({error.strerror}), and may be whole. Nothing was changed. Make it "
            "readable, or move it away to go on from an older one."
        ) from error


def drop_old_checkpoints(folder: Path, kept: int, step: int) -> list[Path]:
    """Removes all but the newest kept checkpoints up to step, and unfinished ones; returns what was removed.

    Checkpoints beyond step go too: a run at step was taken up from before them, because they are damaged.
    """
    found = checkpoint_folders(folder)
    for pattern in (f"step-*{_PARTIAL}", f"step-*{_REPLACED}"):
        for leftover in folder.glob(pattern):
            shutil.rmtree(leftover, ignore_errors=True)
    past = [path for path in found if step_of(path) <= step]
    return [path for path in found if path not in past[-kept:] and _remove(path)]


def size_of(folder: Path) -> int:
    """Bytes of a checkpoint on disk."""
    return sum(file.stat().st_size for file in folder.iterdir())


def conditions() -> dict[str, str]:
    """What decides, beside the settings, whether a resumed run is bit-exact: library versions and CPU threads."""
    from importlib.metadata import version

    libraries = {name: version(name) for name in ("torch", "diffusers", "peft", "transformers", "safetensors")}
    return libraries | {"threads": str(torch.get_num_threads())}


def other_conditions(saved: Mapping[str, str]) -> str:
    """What differs from the conditions of a checkpoint, in words; empty where nothing does."""
    now = conditions()
    changed = [f"{name} {saved.get(name)} then, {now[name]} now" for name in now if now[name] != saved.get(name)]
    return f"Resumed under other conditions, so not bit for bit: {'; '.join(changed)}." if changed else ""


def same_numbers(tensors: Mapping[str, Tensor]) -> str:
    """One SHA-256 over all tensors by name: equal only if every bit is."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _write(checkpoint: Checkpoint, into: Path) -> None:
    """Writes and syncs the three files, the manifest last."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    save_file(contiguous, into / _TENSORS)
    state = {
        "format": FORMAT,
        "step": checkpoint.step,
        "identity": dict(checkpoint.identity),
        "config": checkpoint.config,
        "versions": checkpoint.versions,
        "watch": checkpoint.watch,
    }
    (into / _STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
    manifest = {name: _sha256(into / name) for name in (_TENSORS, _STATE)}
    (into / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for file in into.iterdir():
        file.chmod(0o644)
        _sync(file)
    _sync(into)


def _exchange(partial: Path, final: Path) -> None:
    """Puts a written checkpoint in its place. Killed halfway, the one that was there is found by _put_back."""
    replaced = final.with_name(f"{final.name}{_REPLACED}")
    shutil.rmtree(replaced, ignore_errors=True)
    if final.exists():
        os.replace(final, replaced)
    os.replace(partial, final)
    _sync(final.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _put_back(folder: Path) -> None:
    """Undoes exchanges that were cut short. A folder that cannot be changed is taken as it is."""
    for replaced in folder.glob(f"step-*{_REPLACED}"):
        final = replaced.with_name(replaced.name.removesuffix(_REPLACED))
        if not final.exists():
            with suppress(OSError):
                os.replace(replaced, final)


def _remove(path: Path) -> bool:
    """Removes a checkpoint, first out of sight, so that a kill halfway leaves no damaged one; whether it is gone."""
    partial = path.with_name(f"{path.name}{_PARTIAL}")
    try:
        os.replace(path, partial)
    except OSError:
        return False
    shutil.rmtree(partial, ignore_errors=True)
    return True


def _read_state(folder: Path) -> dict[str, Any]:
    """state.json of a checkpoint whose files are as they were written."""
    try:
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unusable(folder, f"{_STATE} cannot be read ({error})") from error
    if not isinstance(state, dict) or not isinstance(state.get("format"), int):
        raise _unusable(folder, f"{_STATE} is not of this lab")
    if state["format"] > FORMAT:
        raise CheckpointError(
            f"The checkpoint {folder.name} has format {state['format']}; this lab reads up to {FORMAT}. "
            "Upgrade the lab."
        )
    kinds = {"step": int, "identity": dict, "config": dict, "versions": dict}
    if not all(isinstance(state.get(name), kind) for name, kind in kinds.items()):
        raise _unusable(folder, f"{_STATE} is not of this lab")
    return state


def _unusable(folder: Path, problem: str) -> CheckpointError:
    return CheckpointError(f"The checkpoint {folder.name} cannot be used: {problem}. Choose another one.")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder, and writes its entries through
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
