"""CSV that no spreadsheet takes for formulas: what would be one is marked by an apostrophe, and unmarked when read."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dgpo_core.errors import ExchangeError

_FORMULA = re.compile("'*[=+\\-@\uff1d\uff0b\uff0d\uff20\\0\\t\\r\\n]")
"""What OWASP lists under CSV injection, with the full-width signs, and NUL, which its ASVS 1.2.10 adds."""


def escaped(cell: str) -> str:
    """The cell, with an apostrophe in front where a spreadsheet would calculate it; unescaped() gives it back."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unescaped(cell: str) -> str:
    """The cell without the apostrophe that escaped() put there; apostrophes of other cells stay."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def write_rows(file: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """A CSV file in UTF-8; None is an empty cell, and numbers stay numbers, also below zero."""
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_cell(row.get(name)) for name in columns])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int | float) else escaped(str(value))


def read_rows(file: Path, needed: Iterable[str]) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells of each row.

    Raises:
        ExchangeError: it cannot be read as CSV in UTF-8, or lacks a column.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.DictReader(opened, strict=True)
            columns = reader.fieldnames or []
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ExchangeError(
            f"{file.name} cannot be read as CSV in UTF-8: {error}. Correct it; nothing was taken."
        ) from error
    missing = [name for name in needed if name not in columns]
    if missing:
        raise ExchangeError(
            f"{file.name} lacks the columns {', '.join(missing)}; it has {', '.join(columns) or 'none'}. Name them so."
        )
    return [
        (line, {name: unescaped(cell or "") for name, cell in row.items() if name is not None}) for line, row in rows
    ]
