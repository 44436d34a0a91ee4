"""Groups that were drawn before, with their rewards: a folder of pictures and one file that says what they are.

    groups.jsonl      one line per group: {"prompt": "...", "samples": [{"file": "0/1.png", "reward": 0.5}, ...]}
    0/1.png           pictures, at paths below the folder

A sample may also have the "seed" it was drawn from; reward null is no opinion.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from dgpo_core.data.prompts import is_text
from dgpo_core.errors import PromptError
from dgpo_core.rewards.contract import LARGEST_REWARD, Picture

INDEX = "groups.jsonl"
MAX_ERRORS_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSample:
    """One picture of a stored group."""

    file: Path
    reward: float | None
    seed: int


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """A prompt and its pictures."""

    prompt: str
    samples: tuple[StoredSample, ...]

    def pictures(self, size: tuple[int, int]) -> list[Picture]:
        """Its pictures, uint8 (height, width, 3), resized where they have another size than (height, width)."""
        return [_picture(sample.file, size) for sample in self.samples]


def load_groups(folder: Path) -> list[StoredGroup]:
    """The groups of a folder, every file of which is there; they may differ in how many pictures they have.

    Raises:
        PromptError: there is no such folder, or lines of its index are wrong; the message lists the first of them.
    """
    try:
        lines = (folder / INDEX).read_text(encoding="utf-8-sig").split("\n")  # a prompt may hold other ends of lines
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(
            f"There are no stored groups in {str(folder)[:200]}: {INDEX} cannot be read. "
            "Name a folder made by .venv/bin/python -m app export."
        ) from error
    groups: list[StoredGroup] = []
    wrong: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        group = _group(line, folder)
        if isinstance(group, StoredGroup):
            groups.append(group)
        else:
            wrong.append(f"line {number}: {group}")
    _check(folder, groups, wrong)
    return groups


def _check(folder: Path, groups: Sequence[StoredGroup], wrong: Sequence[str]) -> None:
    if wrong:
        shown = "; ".join(wrong[:MAX_ERRORS_SHOWN])
        more = f"; and {len(wrong) - MAX_ERRORS_SHOWN} more" if len(wrong) > MAX_ERRORS_SHOWN else ""
        raise PromptError(
            f"{folder / INDEX} has lines that are no groups: {shown}{more}. Correct them; nothing was used."
        )
    if not groups:
        raise PromptError(f"{folder / INDEX} holds no group. Name a folder with at least one.")


def _group(line: str, folder: Path) -> StoredGroup | str:
    """The group of a line, or what is wrong with it."""
    try:
        values = json.loads(line)
    except ValueError:
        return "not JSON"
    except RecursionError:
        return "lists or groups of values too deep in one another"
    prompt = values.get("prompt") if isinstance(values, dict) else None
    given = values.get("samples") if isinstance(values, dict) else None
    if not isinstance(prompt, str) or not prompt.strip() or "\0" in prompt:
        return "no prompt"
    if not is_text(prompt):
        return "the prompt holds half a surrogate pair, which no text has"
    if not isinstance(given, list) or len(given) < 2:
        return "fewer than two samples"
    samples = [_sample(one, folder) for one in given]
    return next((one for one in samples if isinstance(one, str)), None) or StoredGroup(
        prompt, tuple(one for one in samples if isinstance(one, StoredSample))
    )


def _sample(values: Any, folder: Path) -> StoredSample | str:
    name, reward, seed = (
        (values.get(key) for key in ("file", "reward", "seed")) if isinstance(values, dict) else [None] * 3
    )
    if not isinstance(name, str) or not _is_below(name):
        return f"file {str(name)[:80]!r} is not a path below the folder"
    shown = repr(name[:80])
    try:
        is_there = (folder / name).is_file()
    except OSError as error:
        return f"picture {shown} cannot be looked up: {error.strerror}"
    if not is_there:
        return f"picture {shown} is missing"
    if reward is not None and (type(reward) not in (int, float) or not abs(reward) <= LARGEST_REWARD):
        return f"reward {str(reward)[:40]!r} of {shown} is not a number, or too large"
    return StoredSample(file=folder / name, reward=reward, seed=seed if type(seed) is int else 0)


def _is_below(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and "\0" not in name and is_text(name)


def _picture(file: Path, size: tuple[int, int]) -> Picture:
    try:
        with Image.open(file) as opened:
            picture = opened.convert("RGB")
    except (OSError, Image.DecompressionBombError) as error:
        raise PromptError(f"The picture {file.name} of a stored group cannot be read: {error}. Replace it.") from error
    height, width = size
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(picture, dtype=np.uint8).copy()
