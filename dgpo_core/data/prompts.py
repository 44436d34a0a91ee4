"""Prompt sets: those that ship by name, the user's own by file or text, always checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dgpo_core.errors import PromptError

SHIPPED = Path(__file__).parents[2] / "assets" / "prompts"
MAX_PROMPTS = 100_000
MAX_CHARACTERS = 2_000


def shipped_names() -> list[str]:
    """Names of the prompt sets in assets/prompts."""
    return sorted(file.stem for file in SHIPPED.glob("*.txt"))


def parse_prompts(text: str, source: str) -> list[str]:
    """One prompt per line, in order; blank lines are left out, and so is every exact repetition.

    Raises:
        PromptError: no prompt at all, too many, one too long, or one with characters that no prompt has.
    """
    prompts = list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    if not prompts:
        raise PromptError(f"{source} holds no prompt. Write one prompt per line.")
    if len(prompts) > MAX_PROMPTS:
        raise PromptError(f"{source} holds {len(prompts)} prompts; at most {MAX_PROMPTS} are allowed. Use fewer lines.")
    for number, prompt in enumerate(prompts, start=1):
        _check(prompt, f"Prompt {number} of {source}")
    return prompts


def load_prompts(name_or_path: str, folder: Path | None = None) -> list[str]:
    """The prompts of a shipped set, or of a UTF-8 text file; a relative path begins in folder, else where we are.

    Raises:
        PromptError: there is no such set or file, it is not text, or its prompts cannot be used.
    """
    if name_or_path in shipped_names():
        return load_prompts(str(SHIPPED / f"{name_or_path}.txt"))
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
    return parse_prompts(text, path.name)


def check_disjoint(train: Sequence[str], heldout: Sequence[str]) -> None:
    """Raises PromptError when a held-out prompt is also trained on."""
    shared = sorted(set(train) & set(heldout))
    if shared:
        raise PromptError(
            f"{len(shared)} held-out prompts are also trained on, first {shared[0]!r}. "
            "Take them out of one of the sets."
        )


def _check(prompt: str, where: str) -> None:
    if len(prompt) > MAX_CHARACTERS:
        raise PromptError(f"{where} has {len(prompt)} characters; at most {MAX_CHARACTERS} are allowed. Shorten it.")
    if "\0" in prompt or any(0xD800 <= ord(letter) <= 0xDFFF for letter in prompt):
        raise PromptError(f"{where} holds a NUL or half a surrogate pair, which no text has. Remove it.")
