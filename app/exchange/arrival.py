"""What was brought to the lab, opened: a folder, or a ZIP or Parquet file that holds one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.exchange.archive import unpack
from app.exchange.parquet import PAIRS_NAME, PARQUET_NAME, unpack_parquet
from app.exchange.sources import PICTURES, READERS, Draft, drafts_of, drafts_of_rows
from dgpo_core.errors import ExchangeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """Drafts of groups, the folder that their files lie in, and what is wrong with rows that became none."""

    root: Path
    drafts: list[Draft]
    wrong: list[str]


def opened(source: Path, spool: Path) -> Arrival:
    """What a source says of groups; what is packed is unpacked into the folder spool.

    Raises:
        ExchangeError: there is nothing of that name, or it cannot be read.
    """
    if source.is_dir():
        return _of_folder(source, spool)
    if not source.is_file():
        raise ExchangeError(f"There is no folder {source}. Name one with groups to import.")
    if source.suffix.lower() == ".zip":
        folder = spool / "unpacked" / source.stem
        unpack(source, folder)
        return _of_folder(_inside(folder), spool)
    if source.suffix.lower() == ".parquet":
        return _of_parquet(source, spool)
    raise ExchangeError(
        f"{source.name[:80]} is neither a .zip nor a .parquet file. Pictures must come along: pack the whole folder "
        "as a ZIP file."
    )


def _of_folder(folder: Path, spool: Path) -> Arrival:
    for name in (PARQUET_NAME, PAIRS_NAME):
        if (folder / name).is_file():
            return _of_parquet(folder / name, spool)
    drafts, wrong = drafts_of(folder)
    return Arrival(root=folder, drafts=drafts, wrong=wrong)


def _of_parquet(file: Path, spool: Path) -> Arrival:
    folder = spool / "rows"
    drafts, wrong = drafts_of_rows(unpack_parquet(file, folder), "row")
    return Arrival(root=folder, drafts=drafts, wrong=wrong)


def _inside(folder: Path) -> Path:
    """The folder that was meant: people pack a folder, what is in it, or a single ranked folder."""
    found = [] if _has_list(folder) else list(folder.iterdir())
    if any(map(_is_picture, found)):
        return folder.parent
    if len(found) == 1 and found[0].is_dir():
        inner = found[0]
        return _inside(inner) if _has_list(inner) or not any(map(_is_picture, inner.iterdir())) else folder
    return folder


def _has_list(folder: Path) -> bool:
    """Whether a file of the folder says which pictures belong together."""
    return any((folder / name).is_file() for name in (*READERS, PARQUET_NAME, PAIRS_NAME))


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in PICTURES
