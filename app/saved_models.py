"""The trained models that the page saved, as they lie in the lab's folder: what each is, told from its own files."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from app.settings import UNFINISHED

LORA_FILE = "pytorch_lora_weights.safetensors"
INDEX_FILE = "model_index.json"
NAMED = re.compile(r"run-(\d+)-step-(\d+)(?:-lora)?(?:-\d+)?")
"""How models are called, as in model_name(), some with a number of their own at the end."""


class Form(StrEnum):
    """What a folder holds."""

    WHOLE = "whole pipeline"
    LORA = "LoRA alone"
    UNFINISHED = "unfinished: being saved, or cut short"
    BROKEN = "broken: no model that can be read"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedModel:
    """A folder among the saved models. run_id and step are None where its name does not say them, num_bytes and
    saved (UTC, ISO) where its files cannot be read or are still being written."""

    folder: Path
    run_id: int | None
    step: int | None
    form: Form
    num_bytes: int | None
    saved: str | None


def model_name(run_id: int, step: int, *, as_lora: bool) -> str:
    """What the folder of a model is called."""
    return f"run-{run_id}-step-{step}{'-lora' if as_lora else ''}"


def saved_models(folder: Path) -> list[SavedModel]:
    """Every folder that lies in this one, unfinished ones and then the newest first; none where it cannot be read."""
    found = [_saved_model(folder / name) for name in model_folders(folder)]
    newest_last = sorted(found, key=lambda one: (one.form is Form.UNFINISHED, one.saved or "", one.folder.name))
    return newest_last[::-1]


def model_folders(folder: Path) -> list[str]:
    """The names of the folders in this one, quickly."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return sorted(name for name in names if os.path.isdir(folder / name))


def _saved_model(folder: Path) -> SavedModel:
    named = NAMED.fullmatch(folder.name.removesuffix(UNFINISHED))
    run_id, step = (int(number) for number in named.groups()) if named else (None, None)
    form = Form.UNFINISHED if folder.name.endswith(UNFINISHED) else _form(folder)
    num_bytes, saved = (None, None) if form is Form.UNFINISHED else (_size(folder), _time(folder))
    return SavedModel(folder=folder, run_id=run_id, step=step, form=form, num_bytes=num_bytes, saved=saved)


def _form(folder: Path) -> Form:
    """What it holds, as far as can be told without reading weights."""
    try:
        if (folder / LORA_FILE).exists():
            return Form.LORA if (folder / LORA_FILE).stat().st_size else Form.BROKEN
        index = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Form.BROKEN
    return Form.WHOLE if isinstance(index, dict) and "_class_name" in index else Form.BROKEN


def _size(folder: Path) -> int | None:
    try:
        return sum((Path(place) / name).lstat().st_size for place, _, names in os.walk(folder) for name in names)
    except OSError:
        return None


def _time(folder: Path) -> str | None:
    try:
        return datetime.fromtimestamp(folder.stat().st_mtime, UTC).isoformat(timespec="seconds")
    except OSError:
        return None
