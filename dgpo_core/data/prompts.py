"""Prompt sets: those that ship by name, the user's own by file or text, always checked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dgpo_core.data.prompt_formats import DATASETS, Entry, entries_of, entries_of_dataset
from dgpo_core.errors import PromptError

SHIPPED = Path(__file__).parents[2] / "assets" / "prompts"
SHIPPED_KINDS = (".txt", ".jsonl")
MAX_PROMPTS = 100_000
MAX_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True)
class PromptSet:
    """Different prompts in order, and what is known of some of them beside their text, by prompt."""

    prompts: list[str]
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    num_repeated: int = 0
    most_repeated: tuple[str, int] = ("", 1)
    """The prompt that was given most often, and how often."""

    def as_json_lines(self) -> str:
        """The set as a file that load_prompt_set reads back."""
        lines = [{"prompt": prompt} | self.notes.get(prompt, {}) for prompt in self.prompts]
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def shipped_names() -> list[str]:
    """Names of the prompt sets in assets/prompts."""
    return sorted(file.stem for file in SHIPPED.iterdir() if file.suffix in SHIPPED_KINDS)


def parse_prompts(text: str, source: str) -> list[str]:
    """One prompt per line, in order; blank lines are left out, and so is every exact repetition.

    Raises:
        PromptError: no prompt at all, too many, one too long, or one with characters that no prompt has.
    """
    return parse_prompt_set(text, "txt", source).prompts


def parse_prompt_set(text: str, kind: str, source: str) -> PromptSet:
    """The prompts of a text of some format (txt, jsonl, csv, tsv); every exact repetition is left out and counted.

    Raises:
        PromptError: as parse_prompts, or a line is not of the format, or one prompt has two different notes.
    """
    return _checked(entries_of(text, kind, source), source)


def _checked(entries: Sequence[Entry], source: str) -> PromptSet:
    entries = [(prompt, note) for prompt, note in entries if prompt]
    notes = dict(reversed(entries))
    prompts = list(dict.fromkeys(prompt for prompt, _ in entries))
    if not prompts:
        raise PromptError(f"{source} holds no prompt. Write one prompt per line.")
    if len(prompts) > MAX_PROMPTS:
        raise PromptError(f"{source} holds {len(prompts)} prompts; at most {MAX_PROMPTS} are allowed. Use fewer lines.")
    for number, prompt in enumerate(prompts, start=1):
        _check(prompt, f"Prompt {number} of {source}")
    contradicted = next((prompt for prompt, note in entries if note != notes[prompt]), None)
    if contradicted is not None:
        raise PromptError(
            f"{source} has the prompt {contradicted[:80]!r} twice, with different data beside it. Keep one of the two."
        )
    known = {prompt: note for prompt, note in notes.items() if note}
    most_repeated = Counter(prompt for prompt, _ in entries).most_common(1)[0]
    return PromptSet(prompts, known, len(entries) - len(prompts), most_repeated)


def load_prompts(name_or_path: str, folder: Path | None = None) -> list[str]:
    """The prompts of load_prompt_set, without what is known of them."""
    return load_prompt_set(name_or_path, folder).prompts


def load_prompt_set(name_or_path: str, folder: Path | None = None) -> PromptSet:
    """A shipped set, a UTF-8 file (.txt, .jsonl, .csv, .tsv), or datasets:NAME@SPLIT.

    A relative path begins in folder, else where we are.

    Raises:
        PromptError: there is no such set or file, it is not text, or its prompts cannot be used.
    """
    if name_or_path.startswith(DATASETS):
        return _checked(entries_of_dataset(name_or_path, folder), name_or_path)
    if name_or_path in shipped_names():
        file = next(file for kind in SHIPPED_KINDS if (file := SHIPPED / f"{name_or_path}{kind}").is_file())
        return load_prompt_set(str(file))
    try:
        path = (folder or Path()) / name_or_path
        path = path if path.exists() else Path(name_or_path)
        text = path.read_text(encoding="utf-8-sig")  # Windows editors begin a file with a byte order mark
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise PromptError(f"{path.name} is not UTF-8 text. Save it as UTF-8, one prompt per line.") from error
        raise PromptError(
            f"There is no prompt set or file {name_or_path[:200]!r}. Known sets: {', '.join(shipped_names())}."
        ) from error
    except OSError as error:
        raise PromptError(f"{path.name} cannot be read: {error.strerror}. Check the file.") from error
    return parse_prompt_set(text, path.suffix.lower().removeprefix("."), path.name)


def check_disjoint(train: Sequence[str], heldout: Sequence[str]) -> None:
    """Raises PromptError when a held-out prompt is also trained on."""
    shared = sorted(set(train) & set(heldout))
    if shared:
        raise PromptError(
            f"{len(shared)} held-out prompts are also trained on, first {shared[0]!r}. "
            "Take them out of one of the sets."
        )


def is_text(value: str) -> bool:
    """Whether it is without half a surrogate pair, which JSON can spell and no file, store or tokenizer takes."""
    return not any(0xD800 <= ord(letter) <= 0xDFFF for letter in value)


def _check(prompt: str, where: str) -> None:
    if len(prompt) > MAX_CHARACTERS:
        raise PromptError(f"{where} has {len(prompt)} characters; at most {MAX_CHARACTERS} are allowed. Shorten it.")
    if "\0" in prompt or not is_text(prompt):
        raise PromptError(f"{where} holds a NUL or half a surrogate pair, which no text has. Remove it.")
