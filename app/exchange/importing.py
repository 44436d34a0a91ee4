"""Groups and labels into the lab: everything is checked before anything is stored, and all of it is, or none."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import combinations
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from app.exchange.arrival import Arrival, opened
from app.exchange.sources import FROM_REWARDS, Draft, tiers_of
from app.store.importing import ImportedGroup, ImportedLabel
from app.store.labelling import LONGEST_NAME
from app.store.writer import Writer
from dgpo_core.config import RunConfig, to_dict
from dgpo_core.data.pictures import png_of_file
from dgpo_core.data.prompts import is_text
from dgpo_core.errors import ExchangeError, LabelError, LabError
from dgpo_core.label import Pairs, PairVerdict, label_from_row, label_to_row

MAX_ERRORS_SHOWN = 10
MOST_PICTURES = 256


def import_groups(writer: Writer, source: Path, name: str) -> tuple[int, list[ImportedGroup]]:
    """Stores the groups and labels of a folder, a ZIP file or a Parquet file as a finished run of that name.

    Returns the run's id and the groups.

    Raises:
        ExchangeError: rows of the source are wrong; the message lists them, and nothing was stored.
    """
    config = to_dict(RunConfig(name=name))
    with TemporaryDirectory(prefix="dgpo-import-") as spool:
        try:
            arrival = opened(source, Path(spool))
            groups = _groups(arrival, source.name, Path(spool))
        except OSError as error:
            raise ExchangeError(f"{source.name} cannot be read: {error.strerror}. Nothing was taken.") from error
        return writer.import_groups(config, groups, f"Imported from {source.name}."), groups


def in_words(run_id: int, groups: Sequence[ImportedGroup]) -> str:
    """What came, and what can be done with it."""
    labelled = sum(bool(group.labels) for group in groups)
    num_groups = "1 group" if len(groups) == 1 else f"{len(groups)} groups"
    left = len(groups) - labelled
    wait = f"{left} {'waits' if left == 1 else 'wait'} on the Label page. " if left else ""
    return (
        f"Run {run_id} holds {num_groups}, {labelled} labelled. {wait}To learn from them, set rollout.stored_groups "
        f"to run:{run_id}."
    )


def _groups(arrival: Arrival, called: str, spool: Path) -> list[ImportedGroup]:
    groups, wrong = [], list(arrival.wrong)
    for index, draft in enumerate(arrival.drafts):
        try:
            groups.append(_checked(draft, arrival.root.resolve(), spool / str(index)))
        except LabError as error:
            wrong.append(f"{draft.where}: {error}")
    _refuse(called, wrong)
    if not groups:
        raise ExchangeError(f"{called} holds no group. Give one with at least one.")
    return groups


def _refuse(called: str, wrong: list[str]) -> None:
    if not wrong:
        return
    shown = "\n".join(f"  {one}" for one in wrong[:MAX_ERRORS_SHOWN])
    more = f"\n  and {len(wrong) - MAX_ERRORS_SHOWN} more" if len(wrong) > MAX_ERRORS_SHOWN else ""
    words = f"{called} was not imported, because these are wrong:\n{shown}{more}\nCorrect them; nothing was taken."
    raise ExchangeError(words.encode(errors="backslashreplace").decode())  # names of files may be no text


def _checked(draft: Draft, root: Path, spool: Path) -> ImportedGroup:
    """The group of a draft, its pictures as PNG in a folder of the lab's own; LabError where it cannot be one."""
    if not isinstance(draft.prompt, str) or not draft.prompt.strip() or "\0" in draft.prompt:
        raise ExchangeError("no prompt")
    if not is_text(draft.prompt):
        raise ExchangeError("the prompt holds half a character (a lone surrogate), which cannot be stored")
    if not 2 <= len(draft.files) <= MOST_PICTURES:
        raise ExchangeError(f"a group needs 2 to {MOST_PICTURES} pictures, got {len(draft.files)}")
    labels = tuple(_label(values, len(draft.files)) for values in draft.labels)
    raters = [one.rater for one in labels]
    twice = next((rater for rater in raters if raters.count(rater) > 1), None)
    if twice is not None:
        raise LabelError(f"{twice[:40]!r} judges this group twice; each rater may judge a group once")
    if not labels and draft.rewards:
        labels = _from_rewards(draft.rewards)
    spool.mkdir()
    files = []
    for member, name in enumerate(draft.files):
        file = spool / f"{member}.png"
        file.write_bytes(png_of_file(_below(name, root)))
        files.append(file)
    return ImportedGroup(prompt=draft.prompt, files=tuple(files), labels=labels)


def _below(name: Any, root: Path) -> Path:
    """The file of that name, which must lie in the folder itself, links followed."""
    path = PurePosixPath(name.replace("\\", "/")) if _is_name(name) else None
    if path is None or path.is_absolute() or ".." in path.parts:
        raise ExchangeError(f"file {str(name)[:80]!r} is not a path below the folder")
    shown = repr(str(path)[:80])
    try:
        file = (root / path).resolve()
        is_there = file.is_file()
    except OSError as error:
        raise ExchangeError(f"file {shown} cannot be looked up: {error.strerror}") from error
    except RuntimeError as error:  # of resolve(), before Python 3.13; later ones take such a link for missing
        raise ExchangeError(f"picture {shown} is missing, its links lead in a circle") from error
    if not file.is_relative_to(root):
        raise ExchangeError(f"file {str(name)[:80]!r} leads out of the folder")
    if not is_there:
        raise ExchangeError(f"picture {shown} is missing")
    return file


def _is_name(value: Any) -> bool:
    """Whether it is a text that a file could be called by; what is no UTF-8 on the disk is one too."""
    if not isinstance(value, str) or not value or "\0" in value:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def _is_number(value: Any) -> bool:
    """Whether it is a number, neither infinite nor a whole one that no float can hold."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _label(values: Mapping[str, Any], size: int) -> ImportedLabel:
    rater, created = values.get("rater"), values.get("created")
    if not isinstance(rater, str) or not rater.strip() or len(rater) > LONGEST_NAME or not rater.isprintable():
        raise LabelError(f"a rater's name must be 1 to {LONGEST_NAME} printable characters, got {str(rater)[:40]!r}")
    seconds = values.get("seconds") or 0.0
    if not _is_number(seconds) or seconds < 0:
        raise LabelError(f"seconds must be a number of 0 or more that is not huge, got {str(seconds)[:40]!r}")
    kind, body = label_to_row(label_from_row(str(values.get("kind")), values.get("body"), size))
    return ImportedLabel(rater=rater, kind=kind, body=body, seconds=float(seconds), created=_moment(created))


def _moment(text: Any) -> str | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).isoformat()
    except (TypeError, ValueError):
        raise LabelError(f"created must be a time such as 2026-01-31T12:00:00+00:00, got {str(text)[:40]!r}") from None


def _from_rewards(rewards: list[Any]) -> tuple[ImportedLabel, ...]:
    """Rewards as an order, of those pictures that have one; none where no picture has."""
    for one in rewards:
        if one is not None and not _is_number(one):
            raise ExchangeError(f"reward or place {str(one)[:40]!r} is not a number, or a huge one")
    known = [(member, reward) for member, reward in enumerate(rewards) if reward is not None]
    if not known:
        return ()
    if len(known) == len(rewards):
        return (ImportedLabel(rater=FROM_REWARDS, kind="ranking", body={"tiers": tiers_of(rewards)}),)
    verdicts = [
        PairVerdict(one, other, "both" if reward == less else "first" if reward > less else "second")
        for (one, reward), (other, less) in combinations(known, 2)
    ]
    kind, body = label_to_row(Pairs(tuple(verdicts)))
    return (ImportedLabel(rater=FROM_REWARDS, kind=kind, body=body),) if verdicts else ()
