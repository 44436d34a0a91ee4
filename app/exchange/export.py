"""A run's groups, rewards and labels as a folder with its pictures, in one of several layouts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from app.exchange.archive import pack
from app.exchange.collected import Group, groups_of
from app.exchange.known_run import known_run, without_groups
from app.exchange.new_folder import new_folder
from app.exchange.parquet import PAIRS_NAME, PARQUET_NAME, PngOf, write_pairs_parquet, write_parquet
from app.exchange.spreadsheet import write_rows
from app.lab import EXPORT_LAYOUTS
from app.store.reader import Reader
from dgpo_core.errors import ExchangeError

GROUP_COLUMNS = ("group", "prompt", "file", "reward", "seed")
LABEL_COLUMNS = ("group", "rater", "kind", "body", "seconds", "created")
MAX_LOST_SHOWN = 10


def export_groups(
    reader: Reader, run_id: int | None, folder: Path, layout: str = "groups", *, only_labelled: bool = False
) -> int:
    """Writes every group of a run (None: of all runs), in the order of its steps, and returns how many.

    only_labelled leaves out those of which people said nothing. The folder comes when it is whole.

    Raises:
        ExchangeError: there is no such run, it has nothing to write, pictures of it are gone, or the folder is not new
            or cannot be written.
    """
    groups = _groups(reader, run_id)
    if only_labelled and not (groups := [group for group in groups if group.said is not None]):
        raise ExchangeError("People have judged none of these groups. Label some first, or export all groups.")
    _refuse_lost(reader, groups)
    with new_folder(folder) as unfinished:
        if layout in PARQUET_LAYOUTS:
            name, write = PARQUET_LAYOUTS[layout]
            write(groups, unfinished / name, lambda group, member: _png(reader, group, member))
        else:
            _write_pictures(reader, groups, unfinished)
            LAYOUTS[layout](groups, unfinished)
    return len(groups)


def export_file(reader: Reader, run_id: int | None, layout: str, folder: Path) -> Path:
    """Writes the same as one new file in a folder: a ZIP file of what export_groups writes, or the Parquet file.

    Raises:
        ExchangeError: there is no such run or layout, or nothing to write, or no room.
    """
    if layout not in EXPORT_LAYOUTS:
        raise ExchangeError(f"There is no layout {layout[:40]!r}. Choose one of {', '.join(EXPORT_LAYOUTS)}.")
    name = f"{'all-runs' if run_id is None else f'run-{run_id}'}-{layout}"
    export_groups(reader, run_id, folder / name, layout)
    try:
        if layout in PARQUET_LAYOUTS:
            return (folder / name / PARQUET_LAYOUTS[layout][0]).rename(folder / f"{name}.parquet")
        pack(folder / name, file := folder / f"{name}.zip")
    except OSError as error:
        raise ExchangeError(f"{name} cannot be written: {error.strerror}. Make room and try again.") from error
    finally:
        shutil.rmtree(folder / name, ignore_errors=True)
    return file


def _groups(reader: Reader, run_id: int | None) -> list[Group]:
    """The groups of a run, or of all runs, the oldest first."""
    if run_id is None:
        known = sorted(run.id for run in reader.runs())
        groups = [group for one in known for group in groups_of(reader, one, below=f"{one}/")]
    else:
        groups = list(groups_of(reader, known_run(reader, run_id).id))
    if groups:
        return groups
    if run_id is None:
        raise ExchangeError("No run has drawn groups yet. Train one first.")
    raise without_groups(run_id)


def _refuse_lost(reader: Reader, groups: Sequence[Group]) -> None:
    """Raises where pictures are gone, naming them, before anything is written."""
    lost = reader.lost_pictures({sample.sha for group in groups for sample in group.samples})
    named = [
        f"picture {member + 1} of {group.place}"
        for group in groups
        for member, sample in enumerate(group.samples)
        if sample.sha in lost
    ]
    if named:
        more = f"; and {len(named) - MAX_LOST_SHOWN} more" if len(named) > MAX_LOST_SHOWN else ""
        raise ExchangeError(
            f"{len(named)} picture{'s are' if len(named) > 1 else ' is'} gone from the store (step/group): "
            f"{'; '.join(named[:MAX_LOST_SHOWN])}{more}. Put a backup of the store in its place; nothing was written."
        )


def _write_pictures(reader: Reader, groups: Sequence[Group], folder: Path) -> None:
    for group in groups:
        (folder / group.place).mkdir(parents=True)
        for member in range(len(group.samples)):
            (folder / _file(group, member)).write_bytes(_png(reader, group, member))


def _png(reader: Reader, group: Group, member: int) -> bytes:
    png = reader.picture(group.samples[member].sha)
    if png is None:  # it went while this was written
        raise ExchangeError(f"Picture {member + 1} of {group.place} is gone from the store; nothing was written.")
    return png


def _file(group: Group, member: int) -> str:
    return f"{group.place}/{member}.png"


def write_groups(groups: Sequence[Group], folder: Path) -> None:
    """groups.jsonl, as dgpo_core/data/stored_groups.py reads it, with the labels beside the samples."""
    _write_lines(folder / "groups.jsonl", (_group_line(group) for group in groups))


def _group_line(group: Group) -> dict[str, Any]:
    samples = [
        {"file": _file(group, member), "reward": one.reward} | ({} if one.seed is None else {"seed": one.seed})
        for member, one in enumerate(group.samples)
    ]
    line: dict[str, Any] = {"prompt": group.prompt, "samples": samples}
    return line | ({"labels": group.label_lines} if group.labels else {})


def write_csv(groups: Sequence[Group], folder: Path) -> None:
    """groups.csv with a row per picture, and labels.csv with a row per label."""
    pictures = [
        {"group": group.place, "prompt": group.prompt, "file": _file(group, member)}
        | {"reward": one.reward, "seed": one.seed}
        for group in groups
        for member, one in enumerate(group.samples)
    ]
    labels = [
        {"group": group.place} | label | {"body": json.dumps(label["body"])}
        for group in groups
        for label in group.label_lines
    ]
    write_rows(folder / "groups.csv", GROUP_COLUMNS, pictures)
    write_rows(folder / "labels.csv", LABEL_COLUMNS, labels)


def write_imagefolder(groups: Sequence[Group], folder: Path) -> None:
    """metadata.jsonl with a line per picture, which load_dataset("imagefolder", ...) of the library datasets reads."""
    lines = (
        {"file_name": _file(group, member), "prompt": group.prompt, "group": group.place, "reward": one.reward}
        | {"preference": preference, "labels": json.dumps(group.label_lines)}
        for group in groups
        for member, (one, preference) in enumerate(zip(group.samples, group.preference, strict=True))
    )
    _write_lines(folder / "metadata.jsonl", lines)


def write_pairs(groups: Sequence[Group], folder: Path) -> None:
    """metadata.jsonl with a line per pair of a better and a worse picture, as Diffusion-DPO learns from.

    Raises:
        ExchangeError: no picture is found better than another.
    """
    lines = [
        {"win_file_name": _file(group, better), "lose_file_name": _file(group, worse), "caption": group.prompt}
        for group, better, worse in all_pairs(groups)
    ]
    _write_lines(folder / "metadata.jsonl", lines)


def write_dpo(groups: Sequence[Group], file: Path, png_of: PngOf) -> None:
    """The same pairs as one Parquet file with the pictures inside, as Diffusion-DPO's and diffusers' scripts read them.

    Raises:
        ExchangeError: as write_pairs, or pyarrow is not installed.
    """
    write_pairs_parquet(all_pairs(groups), file, png_of)


def all_pairs(groups: Sequence[Group]) -> list[tuple[Group, int, int]]:
    """Every group with every better and worse member of it; raises ExchangeError where there is none."""
    pairs = [(group, better, worse) for group in groups for better, worse in preferred_pairs(group)]
    if not pairs:
        raise ExchangeError("No picture is found better than another, so there are no pairs. Label some groups first.")
    return pairs


def preferred_pairs(group: Group) -> list[tuple[int, int]]:
    """Every (better, worse) of a group's members; a picture without an opinion is in none."""
    scores = group.preference
    known = [(member, score) for member, score in enumerate(scores) if score is not None]
    return [(better, worse) for better, high in known for worse, low in known if high > low]


def _write_lines(file: Path, lines: Iterable[dict[str, Any]]) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    file.write_text(text, encoding="utf-8")


LAYOUTS: dict[str, Callable[[Sequence[Group], Path], None]] = {
    "groups": write_groups,
    "csv": write_csv,
    "imagefolder": write_imagefolder,
    "pairs": write_pairs,
}
PARQUET_LAYOUTS: dict[str, tuple[str, Callable[[Sequence[Group], Path, PngOf], None]]] = {
    "parquet": (PARQUET_NAME, write_parquet),
    "dpo": (PAIRS_NAME, write_dpo),
}
"""Layouts that are one file, and its name in the folder."""
