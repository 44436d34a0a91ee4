"""Prompts pasted by a person: described while they type, and kept as a file of the lab when a run starts."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from pathlib import Path

from dgpo_core.data.prompts import parse_prompts
from dgpo_core.errors import StoreError

PASTED = "The pasted text"


def describe_prompts(text: str) -> str:
    """How many prompts a text holds, and what of it is left out because it is there twice.

    Raises:
        PromptError: the text cannot be used as prompts.
    """
    prompts = parse_prompts(text, PASTED)
    words = f"{len(prompts):,} prompts." if len(prompts) > 1 else "1 prompt."
    counts = Counter(line.strip() for line in text.splitlines() if line.strip())
    repeated = [(prompt, count) for prompt, count in counts.most_common() if count > 1]
    if not repeated:
        return words
    first, times = repeated[0]
    num_left_out = counts.total() - len(prompts)
    return f"{words} {num_left_out:,} repeated lines are left out, such as “{first[:60]}” (given {times} times)."


def keep_prompts(text: str, folder: Path) -> Path:
    """The file in folder that holds these prompts; the same prompts always give the same file.

    Raises:
        PromptError: the text cannot be used as prompts.
        StoreError: the file cannot be written.
    """
    body = "\n".join(parse_prompts(text, PASTED)) + "\n"
    path = folder / f"own-{sha256(body.encode()).hexdigest()[:16]}.txt"
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
