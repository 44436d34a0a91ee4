"""Tables as plain values for the table component; every cell is text and is drawn as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

NOTHING = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Column:
    """A heading; numbers are set flush right."""

    label: str
    is_number: bool = False


def table(
    columns: Sequence[Column],
    rows: Iterable[tuple[str | int, Sequence[str]]],
    *,
    empty: str,
    caption: str,
    chosen: str | int | None = None,
) -> dict[str, Any]:
    """What the table component draws: rows of (id, cells), the chosen row marked, empty said where there are none."""
    entries = [{"id": str(row_id), "cells": list(cells)} for row_id, cells in rows]
    assert all(len(entry["cells"]) == len(columns) for entry in entries)
    return {
        "columns": [{"label": column.label, "is_number": column.is_number} for column in columns],
        "rows": entries,
        "empty": empty,
        "caption": caption,
        "chosen": None if chosen is None else str(chosen),
    }
