"""Checkpoints: everything a run needs to go on bit for bit, written so that a kill at any moment loses none.

A checkpoint is a folder step-NNNNNN with tensors.safetensors, state.json and, last, manifest.json
with the others' SHA-256. It is written under another name, synced, and renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dgpo_core.errors import CheckpointError

FORMAT = 1
_NAME = re.compile(r"step-(\d{6,})")
_TENSORS, _STATE, _MANIFEST = "tensors.safetensors", "state.json", "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What is saved: all tensors by name, and the rest as JSON values.

    identity is what a model must match; config the run's settings; versions those of the libraries.
    """

    step: int
    tensors: dict[str, Tensor]
    identity: Mapping[str, str | int]
    config: dict[str, Any]
    versions: dict[str, str]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes the checkpoint under folder and returns its own folder.

    Raises:
        CheckpointError: the disk is full or not writable; older checkpoints are untouched.
    """
    final = folder / f"step-{checkpoint.step:06d}"
    partial = folder / f"{final.name}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
        save_file(contiguous, partial / _TENSORS)
        state = {
            "format": FORMAT,
            "step": checkpoint.step,
            "identity": dict(checkpoint.identity),
            "config": checkpoint.config,
            "versions": checkpoint.versions,
        }
        (partial / _STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
        manifest = {name: _sha256(partial / name) for name in (_TENSORS, _STATE)}
        (partial / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        for file in partial.iterdir():
            file.chmod(0o644)
            _sync(file)
        _sync(partial)
        replaced = folder / f"{final.name}.partial-replaced"
        if final.exists():
            os.replace(final, replaced)
        os.replace(partial, final)
        _sync(folder)
        shutil.rmtree(replaced, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
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
        raise CheckpointError(f"The checkpoint {folder.name} cannot be used: {problem}. Choose another one.")
    state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    if state["format"] > FORMAT:
        raise CheckpointError(
            f"The checkpoint {folder.name} has format {state['format']}; this lab reads up to {FORMAT}. "
            "Upgrade the lab."
        )
    if identity is not None and dict(identity) != state["identity"]:
        differing = [key for key in identity if identity[key] != state["identity"].get(key)]
        raise CheckpointError(
            f"The checkpoint {folder.name} belongs to another model: {', '.join(differing)} differ. "
            "Choose the model and the LoRA settings that it was made with."
        )
    try:
        tensors = load_file(folder / _TENSORS)
    except SafetensorError as error:
        raise CheckpointError(f"The checkpoint {folder.name} cannot be read: {error}. Choose another one.") from error
    return Checkpoint(
        step=state["step"],
        tensors=tensors,
        identity=state["identity"],
        config=state["config"],
        versions=state["versions"],
    )


def find_damage(folder: Path) -> str:
    """What is wrong with a checkpoint's files, in words; empty when every file is as it was written."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(manifest, dict) or set(manifest) != {_TENSORS, _STATE}:
            return "its manifest is damaged"
        for name, digest in manifest.items():
            if _sha256(folder / name) != digest:
                return f"{name} is not as it was written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (json.JSONDecodeError, UnicodeDecodeError):
        return "its manifest is damaged"
    return ""


def checkpoint_folders(folder: Path) -> list[Path]:
    """Whole checkpoints under folder, oldest first, damaged or not; unfinished ones are not listed."""
    found = [(int(match[1]), path) for path in folder.glob("step-*") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint without damage, or None."""
    return next((path for path in reversed(checkpoint_folders(folder)) if not find_damage(path)), None)


def drop_old_checkpoints(folder: Path, kept: int) -> list[Path]:
    """Removes all but the newest kept checkpoints, and unfinished ones; returns what was removed."""
    for partial in folder.glob("step-*.partial*"):
        shutil.rmtree(partial, ignore_errors=True)
    old = checkpoint_folders(folder)[:-kept]
    for path in old:
        shutil.rmtree(path)
    return old


def size_of(folder: Path) -> int:
    """Bytes of a checkpoint on disk."""
    return sum(file.stat().st_size for file in folder.iterdir())


def library_versions() -> dict[str, str]:
    """Versions that decide whether a resumed run is bit-exact."""
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "diffusers", "peft", "transformers", "safetensors")}


def same_numbers(tensors: Mapping[str, Tensor]) -> str:
    """One SHA-256 over all tensors by name: equal only if every bit is."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
