"""Prompts pasted by a person: described while they type, and kept as a file of the lab when a run starts."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from dgpo_core.data.prompt_formats import kind_of
from dgpo_core.data.prompts import PromptSet, parse_prompt_set
from dgpo_core.errors import StoreError

PASTED = "The pasted text"


def describe_prompts(text: str) -> str:
    """How many prompts a text holds, and what of it is left out because it is there twice.

    Raises:
        PromptError: the text cannot be used as prompts.
    """
    found = pasted(text)
    words = f"{len(found.prompts):,} prompts." if len(found.prompts) > 1 else "1 prompt."
    if found.notes:
        words += f" {len(found.notes):,} have data beside them."
    if not found.num_repeated:
        return words
    first, times = found.most_repeated
    return f"{words} {found.num_repeated:,} repeated lines are left out, such as “{first[:60]}” (given {times} times)."


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
    found = pasted(text)
    body = found.as_json_lines() if found.notes else "\n".join(found.prompts) + "\n"
    path = folder / f"own-{sha256(body.encode()).hexdigest()[:16]}.{'jsonl' if found.notes else 'txt'}"
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
