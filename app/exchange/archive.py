"""ZIP files, out and in. One that was sent to the lab may be hostile: nothing it says of itself is believed.

An entry is written below the folder or refused; links, passwords and unknown compression are refused; what is unpacked
is counted while it is written, so that a small file cannot fill the disk.
"""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo
from zlib import error as BadCompression

from dgpo_core.errors import ExchangeError

MOST_ENTRIES = 100_000
MOST_BYTES = 2 * 2**30
CHUNK_BYTES = 2**20
OF_A_SYSTEM = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"}
"""What operating systems add to an archive, which nobody means to send."""


def pack(folder: Path, file: Path) -> None:
    """Writes all files below a folder into a ZIP file; pictures are compressed already and are stored as they are."""
    with ZipFile(file, "x", ZIP_STORED) as archive:
        for one in sorted(folder.rglob("*")):
            if one.is_file():
                archive.write(one, one.relative_to(folder).as_posix())


def unpack(file: Path, folder: Path, *, most_bytes: int = MOST_BYTES) -> None:
    """Writes what a ZIP file holds below a new folder.

    Raises:
        ExchangeError: it is no ZIP file or a damaged one, holds an entry that is refused, or too much.
    """
    folder.mkdir(parents=True)
    try:
        with ZipFile(file) as archive:
            if not all(one.filename for one in archive.infolist()):
                raise BadZipFile("an entry has no name")
            entries = [one for one in archive.infolist() if not one.is_dir() and not _is_of_a_system(one.filename)]
            if len(entries) > MOST_ENTRIES:
                raise ExchangeError(
                    f"{file.name} holds {len(entries)} files; at most {MOST_ENTRIES} are taken. Send fewer at a time."
                )
            left = most_bytes
            for entry in entries:
                left -= _extract(archive, entry, folder / _place(entry), left)
    except (BadZipFile, BadCompression, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise ExchangeError(f"{file.name} cannot be unpacked: {error}. Pack it again as a plain ZIP file.") from error


def _is_of_a_system(name: str) -> bool:
    return not OF_A_SYSTEM.isdisjoint(PurePosixPath(name).parts)


def _place(entry: ZipInfo) -> PurePosixPath:
    """Where an entry lies below the folder."""
    shown = repr(entry.filename[:80])
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0]:
        raise ExchangeError(f"The entry {shown} leads out of the folder. Pack plain files; nothing was taken.")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise ExchangeError(f"The entry {shown} is a link. Pack the file itself; nothing was taken.")
    if entry.flag_bits & 1:
        raise ExchangeError(f"The entry {shown} needs a password. Pack it without one; nothing was taken.")
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise ExchangeError(f"The entry {shown} is compressed in an unusual way. Pack it again as a plain ZIP file.")
    return path


def _extract(archive: ZipFile, entry: ZipInfo, target: Path, left: int) -> int:
    """Writes an entry of at most so many bytes, and returns how many it had."""
    count = 0
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as packed, target.open("xb") as written:
            while chunk := packed.read(CHUNK_BYTES):
                count += len(chunk)
                if count > left:
                    raise ExchangeError(
                        f"{Path(archive.filename or '').name} unpacks to more than the lab takes at once "
                        f"({MOST_BYTES // 2**30} GB). Unpack it yourself and use .venv/bin/python -m app import FOLDER."
                    )
                written.write(chunk)
    except (FileExistsError, NotADirectoryError):
        raise ExchangeError(f"The entry {entry.filename[:80]!r} is there twice. Give each file its own name.") from None
    return count
