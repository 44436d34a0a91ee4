"""A run's groups as a folder that offline training, or anyone, can read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.store.reader import Reader
from app.store.rows import GroupRow
from dgpo_core.errors import StoreError


def export_groups(reader: Reader, run_id: int, folder: Path) -> int:
    """Writes every group of a run, in the order of its steps, and returns how many; the index comes last.

    Raises:
        StoreError: there is no such run, it has no groups, or the folder is not new or cannot be written.
    """
    if reader.run(run_id) is None:
        known = ", ".join(str(run.id) for run in reader.runs()) or "none"
        raise StoreError(f"There is no run {run_id}. Known: {known}.")
    groups = list(_groups(reader, run_id))
    if not groups:
        raise StoreError(f"Run {run_id} has drawn no groups yet. Train it first.")
    try:
        folder.mkdir(parents=True)
        lines = [json.dumps(_written(reader, group, folder), ensure_ascii=False) for group in groups]
        (folder / "groups.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    except FileExistsError:
        raise StoreError(f"{folder} is there already. Name a folder that is not.") from None
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror}. Choose another folder.") from error
    return len(groups)


def _groups(reader: Reader, run_id: int) -> Iterator[GroupRow]:
    last = reader.latest_step(run_id)
    for step in range(0 if last is None else last + 1):
        yield from reader.groups(run_id, step)


def _written(reader: Reader, group: GroupRow, folder: Path) -> dict[str, Any]:
    """The group's line of the index, its pictures written."""
    place = Path(str(group.step)) / str(group.index)
    (folder / place).mkdir(parents=True)
    samples = []
    for sample in sorted(group.samples, key=lambda one: one.member):
        name = place / f"{sample.member}.png"
        png = reader.picture(sample.sha)
        assert png is not None, "the store keeps every picture that a row names"
        (folder / name).write_bytes(png)
        samples.append({"file": name.as_posix(), "reward": sample.reward, "seed": sample.seed})
    return {"prompt": group.prompt, "samples": samples}
