"""Prompts pasted or brought as a file: described at once, and kept as a file of the lab."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

from dgpo_core.data.prompt_formats import kind_of
from dgpo_core.data.prompts import PromptSet, load_prompt_set, parse_prompt_set
from dgpo_core.errors import PromptError, StoreError

PASTED = "The pasted text"
FILE_KINDS = (".txt", ".jsonl", ".ndjson", ".csv", ".tsv")
LONGEST_NAME = 40
TYPED = re.compile(r"own-[0-9a-f]{16}\.\w+")
"""How files of pasted texts are called."""


def describe_prompts(text: str) -> str:
    """How many prompts a text holds, and what of it is left out because it is there twice.

    Raises:
        PromptError: the text cannot be used as prompts.
    """
    return _described(pasted(text))


def pasted(text: str) -> PromptSet:
    """The prompts of a pasted text: JSON lines where it begins with an object, else one prompt per line.

    Raises:
        PromptError: the text cannot be used as prompts.
    """
    return parse_prompt_set(text, kind_of(text), PASTED)


def keep_prompts(text: str, folder: Path) -> Path:
    """The file in folder that holds these prompts; the same prompts always give the same file.

    Raises:
        PromptError: the text cannot be used as prompts.
        StoreError: the file cannot be written.
    """
    return _kept(pasted(text), "own", folder)


def keep_prompt_file(file: Path, folder: Path) -> tuple[Path, str]:
    """The file in folder that now holds the prompts of a file of a person's, and what was found in it.

    Its name begins as the person's file is called, and ends in a hash of its prompts: an earlier run's are never
    written over.

    Raises:
        PromptError: it is of no kind that is read, or cannot be used as prompts.
        StoreError: it cannot be kept.
    """
    if file.suffix.lower() not in FILE_KINDS:
        raise PromptError(
            f"{file.name[:80]!r} is no prompt file: its name must end in {', '.join(FILE_KINDS)}. Save it as one of "
            "these: plain text with one prompt per line, JSON lines, or a table with a column named prompt."
        )
    found = load_prompt_set(str(file))
    return _kept(found, _plain_name(file.stem), folder), _described(found)


def kept_files(folder: Path) -> list[str]:
    """Names of the prompt files that were brought into folder, newest first."""
    files = [file for file in folder.glob("*") if file.suffix in FILE_KINDS and not TYPED.fullmatch(file.name)]
    return [file.name for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True)]


def _described(found: PromptSet) -> str:
    words = f"{len(found.prompts):,} prompts." if len(found.prompts) > 1 else "1 prompt."
    if found.notes:
        words += f" {len(found.notes):,} have data beside them."
    if not found.num_repeated:
        return words
    first, times = found.most_repeated
    return f"{words} {found.num_repeated:,} repeated lines are left out, such as “{first[:60]}” (given {times} times)."


def _plain_name(name: str) -> str:
    """Letters, digits and hyphens of a name; no name of a place, whatever it was called."""
    return re.sub(r"[\W_]+", "-", name).strip("-")[:LONGEST_NAME] or "prompts"


def _kept(found: PromptSet, name: str, folder: Path) -> Path:
    """The file in folder that holds these prompts under that name; the same prompts always give the same file."""
    body = found.as_json_lines() if found.notes else "\n".join(found.prompts) + "\n"
    path = folder / f"{name}-{sha256(body.encode()).hexdigest()[:16]}.{'jsonl' if found.notes else 'txt'}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        unfinished.write_text(body, encoding="utf-8", newline="\n")
        unfinished.replace(path)
    except OSError as error:
        raise StoreError(
            f"The prompts cannot be kept in {folder}: {error.strerror}. Make room there or choose another lab folder."
        ) from None
    return path
