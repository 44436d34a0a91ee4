"""Groups as one Parquet file, a row per picture with the picture inside, as load_dataset of the library datasets reads.

Written and read through pyarrow, which the library datasets brings along. A file from outside may be hostile: its
columns are checked before a row is read, and rows are read a few at a time and counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from app.exchange.archive import MOST_BYTES
from app.exchange.collected import Group
from dgpo_core.data.prompt_formats import DATASETS_EXTRA
from dgpo_core.errors import ExchangeError

PARQUET_NAME = "groups.parquet"
ROWS_AT_ONCE = 64
MOST_ROWS = 1_000_000
COLUMNS = ("image", "prompt", "group", "reward", "preference", "seed", "labels")
NEEDED = ("image", "prompt")
READ = (*NEEDED, "group", "reward", "place", "labels")
FEATURES = {
    "image": {"_type": "Image"},
    **{name: {"dtype": "string", "_type": "Value"} for name in ("prompt", "group", "labels")},
    **{name: {"dtype": "float64", "_type": "Value"} for name in ("reward", "preference")},
    "seed": {"dtype": "int64", "_type": "Value"},
}
"""What the library datasets takes the columns for; it reads this from the file."""
Row = dict[str, Any]


def write_parquet(groups: Sequence[Group], file: Path, png_of: Callable[[Group, int], bytes]) -> None:
    """Writes a row for every picture, a few groups at a time; png_of gives the picture of a group's member.

    Raises:
        ExchangeError: pyarrow is not installed.
    """
    arrow, parquet = _libraries()
    with parquet.ParquetWriter(file, _schema(arrow)) as writer:
        rows: list[Row] = []
        for group in groups:
            rows += _rows(group, png_of)
            if len(rows) >= ROWS_AT_ONCE or group is groups[-1]:
                writer.write_table(arrow.Table.from_pylist(rows, schema=_schema(arrow)))
                rows = []


def _rows(group: Group, png_of: Callable[[Group, int], bytes]) -> list[Row]:
    labels = json.dumps(group.label_lines)
    return [
        {"image": {"bytes": png_of(group, member), "path": f"{group.place}/{member}.png"}, "prompt": group.prompt}
        | {"group": group.place, "reward": one.reward, "preference": preference, "seed": one.seed, "labels": labels}
        for member, (one, preference) in enumerate(zip(group.samples, group.preference, strict=True))
    ]


def _schema(arrow: ModuleType) -> Any:
    types = {"string": arrow.string(), "float64": arrow.float64(), "int64": arrow.int64()}
    image = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    fields = [(name, image if name == "image" else types[FEATURES[name]["dtype"]]) for name in COLUMNS]
    return arrow.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": FEATURES}})})


def unpack_parquet(file: Path, folder: Path, *, most_bytes: int = MOST_BYTES) -> list[tuple[int, Row]]:
    """Writes the pictures of a file into a new folder; returns number and values of each row.

    A row names its picture's file by file_name, which is None where it has no picture.

    Raises:
        ExchangeError: it is no Parquet file or a damaged one, lacks a column, or holds too much.
    """
    arrow, parquet = _libraries()
    folder.mkdir(parents=True)
    try:
        with parquet.ParquetFile(file) as opened:
            _check(file.name, opened, arrow, most_bytes)
            return list(_taken(opened, folder, most_bytes, file.name))
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).split("\n")[0][:200]
        raise ExchangeError(f"{file.name} cannot be read as Parquet: {reason}. Write it again.") from error


def _check(name: str, opened: Any, arrow: ModuleType, most_bytes: int) -> None:
    schema = opened.schema_arrow
    if missing := [one for one in NEEDED if one not in schema.names]:
        raise ExchangeError(
            f"{name} lacks the columns {', '.join(missing)}; it has {', '.join(schema.names) or 'none'}. Name them so."
        )
    image = schema.field("image").type
    has_bytes = arrow.types.is_struct(image) and image.get_field_index("bytes") >= 0
    if not has_bytes and not arrow.types.is_binary(image) and not arrow.types.is_large_binary(image):
        raise ExchangeError(f"The column image of {name} holds {image}; it must hold the bytes of a picture file.")
    facts = opened.metadata
    if facts.num_rows > MOST_ROWS:
        raise ExchangeError(f"{name} has {facts.num_rows} rows; at most {MOST_ROWS} are taken. Split it.")
    if sum(facts.row_group(index).total_byte_size for index in range(facts.num_row_groups)) > most_bytes:
        raise _too_much(name)


def _taken(opened: Any, folder: Path, most_bytes: int, name: str) -> Iterator[tuple[int, Row]]:
    columns = [one for one in READ if one in opened.schema_arrow.names]
    number = count = 0
    for batch in opened.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns):
        for row in batch.to_pylist():
            number += 1
            image = row.pop("image")
            data = image.get("bytes") if isinstance(image, dict) else image
            count += len(data or b"")
            if count > most_bytes:
                raise _too_much(name)
            if data:
                (folder / str(number)).write_bytes(data)
            yield number, row | {"file_name": str(number) if data else None}


def _too_much(name: str) -> ExchangeError:
    return ExchangeError(f"{name} holds more than the lab takes at once ({MOST_BYTES // 2**30} GB). Split it.")


def _libraries() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ExchangeError(f"Parquet needs the library pyarrow. Install it: {DATASETS_EXTRA}") from error
    return pyarrow, parquet
