"""Prompt files: plain text, JSON lines (GenEval's among them), comma- or tab-separated values, and `datasets`.

Each is read as prompts in order with what stands beside them, which reaches the reward as a note.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from dgpo_core.errors import PromptError

PROMPT_COLUMNS = ("prompt", "caption", "text")
"""Names of the column that holds the prompt, the first of them that is there."""
DATASETS = "datasets:"
DATASETS_EXTRA = ".venv/bin/python -m pip install -c constraints.txt -r requirements-datasets.txt"

SAVED = ("state.json", "dataset_dict.json")
"""Files, of which save_to_disk writes one into its folder, and nobody else."""

Entry = tuple[str, dict[str, Any]]


def entries_of(text: str, kind: str, source: str) -> list[Entry]:
    """Prompts and what stands beside them; kind is the file's ending without a dot, any other than those here is text.

    Raises:
        PromptError: a line is not of its format, named by its number.
    """
    if kind in ("jsonl", "ndjson"):
        return _from_json_lines(text, source)
    if kind in ("csv", "tsv"):
        return _from_table(text, "\t" if kind == "tsv" else ",", source)
    return [(line.strip(), {}) for line in text.splitlines() if line.strip()]


def kind_of(text: str) -> str:
    """The format of a pasted text: JSON lines where the first line begins an object, else plain text."""
    return "jsonl" if text.lstrip().startswith("{") else "txt"


def _from_json_lines(text: str, source: str) -> list[Entry]:
    entries = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
            raise PromptError(
                f"Line {number} of {source} is not JSON: {reason}. Write one object or text per line."
            ) from error
        entries.append(_entry({"prompt": value} if isinstance(value, str) else value, f"Line {number} of {source}"))
    return entries


def _from_table(text: str, delimiter: str, source: str) -> list[Entry]:
    try:
        rows = list(csv.DictReader(StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise PromptError(f"{source} is not a table: {error}. Quote cells that hold commas or quotes.") from error
    entries = []
    for number, row in enumerate(rows, start=2):
        if None in row:
            raise PromptError(f"Row {number} of {source} has more cells than the heading. Quote cells with commas.")
        entries.append(_entry({name: cell for name, cell in row.items() if cell}, f"Row {number} of {source}"))
    return entries


def _entry(value: Any, where: str) -> Entry:
    column = next((name for name in PROMPT_COLUMNS if isinstance(value, Mapping) and name in value), None)
    if column is None or not isinstance(value[column], str):
        raise PromptError(
            f"{where} has no text named prompt. Name the column or key of the prompt {PROMPT_COLUMNS[0]}."
        )
    return value[column].strip(), {str(name): one for name, one in value.items() if name != column}


def entries_of_dataset(name: str, folder: Path | None = None) -> list[Entry]:
    """The prompts of datasets:NAME or datasets:NAME@SPLIT; NAME is a hub id, a folder that save_to_disk
    wrote, or one of plain files such as Parquet or JSON lines.

    A relative folder begins in folder, else where we are.

    Raises:
        PromptError: the library datasets is missing, or the data set cannot be read or has no column of prompts.
    """
    place, _, split = name.removeprefix(DATASETS).partition("@")
    saved = (folder or Path()) / place
    rows = _rows_of_dataset(str(saved) if saved.is_dir() else place, split or "train", name)
    return [_entry(dict(row), f"Row {number} of {name}") for number, row in enumerate(rows, start=1)]


def _rows_of_dataset(place: str, split: str, name: str) -> Iterable[Mapping[str, Any]]:
    try:
        import datasets
    except ImportError as error:
        raise PromptError(f"{name} needs the library datasets. Install it: {DATASETS_EXTRA}") from error
    try:
        is_saved = any((Path(place) / one).is_file() for one in SAVED)
        loaded = datasets.load_from_disk(place) if is_saved else datasets.load_dataset(place, split=split)
        rows = loaded[split] if isinstance(loaded, dict) else loaded
    except RuntimeError as error:  # what datasets says of a set that is a script, which it does not run any more
        raise PromptError(
            f"{name} cannot be read: {str(error)[:200]}. Choose a data set of plain files, such as Parquet."
        ) from error
    except (OSError, ValueError, KeyError, datasets.exceptions.DatasetsError) as error:
        raise PromptError(f"{name} cannot be read: {str(error)[:200]}. Check its name and split.") from error
    column = next((one for one in PROMPT_COLUMNS if one in rows.column_names), None)
    if column is None:
        raise PromptError(f"{name} has no column of prompts, only {', '.join(rows.column_names)}. Rename it to prompt.")
    kept = [one for one, feature in rows.features.items() if not isinstance(feature, datasets.Image | datasets.Audio)]
    return rows.select_columns(kept)
