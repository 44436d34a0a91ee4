"""What a folder from outside says of its pictures: drafts of groups, before anything of them is believed.

Read are the lab's own layouts (groups.jsonl; groups.csv with or without labels.csv; metadata.jsonl of an image folder
or of pairs), and ranked folders: one folder per prompt, its pictures named by their place. Files that hold a whole
folder are opened by app/exchange/arrival.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.exchange.spreadsheet import read_rows
from dgpo_core.errors import ExchangeError

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"}
PLACE = re.compile(r"\d+")
FROM_REWARDS = "imported rewards"
FROM_PAIRS = "imported pairs"
FROM_FOLDERS = "imported ranks"
TIERS_OF_PAIR = {1: [[0], [1]], 0: [[1], [0]], 0.5: [[0, 1]]}
"""What label_0 of a pair jpg_0, jpg_1 says, as Pick-a-Pic has it."""
DEEPEST = 32
"""How deep values may lie in one another; a group's lie seven deep. Python cannot even show very deep ones."""


@dataclass(slots=True)
class Draft:
    """A group as it stands in a source; where names its row, for whoever has to correct it."""

    where: str
    prompt: Any
    files: list[Any] = field(default_factory=list)
    rewards: list[Any] = field(default_factory=list)
    labels: list[Mapping[str, Any]] = field(default_factory=list)


def drafts_of(source: Path) -> tuple[list[Draft], list[str]]:
    """The drafts of a folder, and what is wrong with rows that could not become one.

    Raises:
        ExchangeError: nothing in the folder says which pictures belong together, or what does cannot be read.
    """
    for name, read in READERS.items():
        if (source / name).is_file():
            return read(source)
    return _ranked_folders(source)


def _groups_jsonl(source: Path) -> tuple[list[Draft], list[str]]:
    drafts, wrong = [], []
    for number, line in _lines(source / "groups.jsonl"):
        samples: Any = line.get("samples") if isinstance(line, dict) else None
        labels: Any = line.get("labels", []) if isinstance(line, dict) else None
        if not _are_dicts(samples) or not _are_dicts(labels):
            wrong.append(f"line {number} is no group with samples")
            continue
        draft = Draft(f"line {number}", line.get("prompt"), labels=list(labels))
        draft.files = [sample.get("file") for sample in samples]
        draft.rewards = [sample.get("reward") for sample in samples]
        drafts.append(draft)
    return drafts, wrong


def _groups_csv(source: Path) -> tuple[list[Draft], list[str]]:
    """A row per picture; without a column group, pictures of one prompt belong together."""
    by_group: dict[str, Draft] = {}
    wrong: list[str] = []
    for number, row in read_rows(source / "groups.csv", ("prompt", "file")):
        draft = by_group.setdefault(row.get("group") or row["prompt"], Draft(f"row {number}", row["prompt"]))
        wrong += _other_prompt(f"row {number}", row, draft)
        draft.files.append(row["file"])
        draft.rewards.append(_score(row))
    if (source / "labels.csv").is_file():
        for number, row in read_rows(source / "labels.csv", ("group", "rater", "kind", "body")):
            if row["group"] not in by_group:
                wrong.append(
                    f"row {number} of labels.csv is of the group {row['group'][:40]!r}, which groups.csv lacks"
                )
                continue
            by_group[row["group"]].labels.append(
                row | {"body": _json(row["body"]), "seconds": _number(row.get("seconds"))}
            )
    return list(by_group.values()), wrong


def _other_prompt(where: str, row: Mapping[str, Any], draft: Draft) -> list[str]:
    """What is wrong where a row has another prompt than the group that it is in; nothing for the same, or none."""
    if not row.get("prompt") or row["prompt"] == draft.prompt:
        return []
    return [
        f"{where} has the prompt {str(row.get('prompt'))[:40]!r}, but {draft.where} of the same group "
        f"{str(row.get('group'))[:40]!r} has {str(draft.prompt)[:40]!r}"
    ]


def _score(row: Mapping[str, Any]) -> Any:
    """The reward of a row, or minus its place, so that more is better; None where it says neither."""
    if row.get("reward"):
        return _number(row["reward"])
    place = _number(row.get("place"))
    return -place if isinstance(place, float) else place


def _metadata_jsonl(source: Path) -> tuple[list[Draft], list[str]]:
    return drafts_of_rows(_lines(source / "metadata.jsonl"), "line")


def drafts_of_rows(rows: Iterable[tuple[int, Any]], called: str) -> tuple[list[Draft], list[str]]:
    """Of a row per picture, or a row per pair, whose better one is named or told by label_0; called is what messages
    call a row."""
    by_group: dict[str, Draft] = {}
    pairs: list[Draft] = []
    wrong: list[str] = []
    for number, row in rows:
        where = f"{called} {number}"
        if isinstance(row, dict) and "win_file_name" in row:
            pairs.append(_pair(where, row, ("win_file_name", "lose_file_name"), [[0], [1]]))
        elif isinstance(row, dict) and "jpg_0" in row:
            label = row.get("label_0")
            if isinstance(label, int | float) and label in TIERS_OF_PAIR:
                pairs.append(_pair(where, row, ("jpg_0", "jpg_1"), TIERS_OF_PAIR[label]))
            else:
                wrong.append(
                    f"{where} has label_0 {str(label)[:40]!r}; it must be 1 (jpg_0 is better), 0, or 0.5 (a tie)"
                )
        elif isinstance(row, dict) and "file_name" in row:
            draft = by_group.setdefault(str(row.get("group") or row.get("prompt")), Draft(where, row.get("prompt")))
            wrong += _other_prompt(where, row, draft)
            draft.files.append(row["file_name"])
            draft.rewards.append(row["reward"] if row.get("reward") is not None else _score(row))
            draft.labels = _json(row["labels"]) if isinstance(row.get("labels"), str) else draft.labels
            if not _are_dicts(draft.labels):
                wrong.append(f"{where} has labels that are none")
                draft.labels = []
        else:
            wrong.append(f"{where} has neither file_name nor win_file_name and lose_file_name")
    return [*by_group.values(), *pairs], wrong


def _pair(where: str, row: Mapping[str, Any], files: tuple[str, str], tiers: list[list[int]]) -> Draft:
    said = {"rater": FROM_PAIRS, "kind": "ranking", "body": {"tiers": tiers}}
    return Draft(where, row.get("caption"), [row.get(name) for name in files], labels=[said])


def _ranked_folders(source: Path) -> tuple[list[Draft], list[str]]:
    """One folder per prompt: 1.png is best, equal numbers are as good; without numbers the group waits for people."""
    drafts, wrong = [], []
    for folder in sorted(one for one in source.iterdir() if one.is_dir()):
        pictures = sorted(one for one in folder.iterdir() if one.suffix.lower() in PICTURES)
        if not pictures:
            continue
        places = [int(found[0]) if (found := PLACE.match(one.stem)) else None for one in pictures]
        unnumbered = [one.name for one, place in zip(pictures, places, strict=True) if place is None]
        if unnumbered and len(unnumbered) < len(pictures):
            wrong.append(f"folder {folder.name}: {unnumbered[0]} has no place at the start of its name, others have")
            continue
        draft = Draft(
            f"folder {folder.name}", _folder_prompt(folder), [f"{folder.name}/{one.name}" for one in pictures]
        )
        if not unnumbered:
            draft.labels = [
                {
                    "rater": FROM_FOLDERS,
                    "kind": "ranking",
                    "body": {"tiers": tiers_of([-one for one in places if one is not None])},
                }
            ]
        drafts.append(draft)
    if not drafts and not wrong:
        raise ExchangeError(
            f"{source.resolve().name} holds neither {', '.join(READERS)} nor folders of pictures. "
            "docs/people.md shows what can be imported."
        )
    return drafts, wrong


def _folder_prompt(folder: Path) -> str:
    """The text of prompt.txt, or the folder's name with spaces for underscores."""
    file = folder / "prompt.txt"
    if not file.is_file():
        return folder.name.replace("_", " ")
    try:
        return file.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ExchangeError(
            f"prompt.txt of folder {folder.name} cannot be read as text in UTF-8. Correct it; nothing was taken."
        ) from error


def tiers_of(scores: Iterable[float | None]) -> list[list[int]]:
    """Members from best to worst score, equal ones in one tier; those without a score in none."""
    known = [(member, score) for member, score in enumerate(scores) if score is not None]
    values = sorted({score for _, score in known}, reverse=True)
    return [[member for member, score in known if score == value] for value in values]


def _lines(file: Path) -> list[tuple[int, Any]]:
    """Number and value of each line; what is no JSON is None."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ExchangeError(f"{file.name} cannot be read as text in UTF-8. Correct it; nothing was taken.") from error
    return [(number, _json(line)) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]


def _json(text: str) -> Any:
    """The value of a text; None where it is no JSON, or its values lie too deep in one another."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return None if _is_deep(value) else value


def _is_deep(value: Any) -> bool:
    layer = [value]
    for _ in range(DEEPEST):
        layer = [inner for outer in layer if isinstance(outer, dict | list) for inner in _inside(outer)]
    return bool(layer)


def _inside(outer: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return outer.values() if isinstance(outer, dict) else outer


def _number(text: Any) -> Any:
    """The number in a cell, None for an empty one, and what is in it where that is no number, or a huge one."""
    if text is None or text == "":
        return None
    try:
        return float(text)
    except (TypeError, ValueError, OverflowError):
        return text


def _are_dicts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(one, dict) for one in values)


READERS: dict[str, Callable[[Path], tuple[list[Draft], list[str]]]] = {
    "groups.jsonl": _groups_jsonl,
    "groups.csv": _groups_csv,
    "metadata.jsonl": _metadata_jsonl,
}
