"""Groups as one Parquet file, a row per picture with the picture inside, as load_dataset of the library datasets reads;
or a row per pair of a better and a worse one, as scripts for Diffusion-DPO read.

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
PAIRS_NAME = "pairs.parquet"
ROWS_AT_ONCE = 64
MOST_ROWS = 1_000_000
COLUMNS = ("image", "prompt", "group", "reward", "preference", "seed", "labels")
NEEDED = ("image", "prompt")
READ = (*NEEDED, "group", "reward", "place", "labels")
PAIR_PICTURES = ("jpg_0", "jpg_1")
PAIR_COLUMNS = (*PAIR_PICTURES, "label_0", "caption")
"""Of Pick-a-Pic, which scripts for Diffusion-DPO learn from: label_0 is 1 where jpg_0 is better; any picture format."""
FEATURES = {
    "image": {"_type": "Image"},
    **{name: {"dtype": "string", "_type": "Value"} for name in ("prompt", "group", "labels")},
    **{name: {"dtype": "float64", "_type": "Value"} for name in ("reward", "preference")},
    "seed": {"dtype": "int64", "_type": "Value"},
}
"""What the library datasets takes the columns for; it reads this from the file."""
Row = dict[str, Any]
PngOf = Callable[[Group, int], bytes]
"""The picture of a group's member."""


def write_parquet(groups: Sequence[Group], file: Path, png_of: PngOf) -> None:
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


def write_pairs_parquet(pairs: Sequence[tuple[Group, int, int]], file: Path, png_of: PngOf) -> None:
    """Writes a row for every pair of a group's better and worse member, a few at a time, the better one first.

    Raises:
        ExchangeError: pyarrow is not installed.
    """
    arrow, parquet = _libraries()
    kinds = zip(PAIR_COLUMNS, (arrow.binary(), arrow.binary(), arrow.float64(), arrow.string()), strict=True)
    schema = arrow.schema(list(kinds))
    with parquet.ParquetWriter(file, schema) as writer:
        for start in range(0, len(pairs), ROWS_AT_ONCE):
            rows = [
                {"jpg_0": png_of(group, better), "jpg_1": png_of(group, worse), "label_0": 1.0, "caption": group.prompt}
                for group, better, worse in pairs[start : start + ROWS_AT_ONCE]
            ]
            writer.write_table(arrow.Table.from_pylist(rows, schema=schema))


def _rows(group: Group, png_of: PngOf) -> list[Row]:
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

    A row names its picture's file by file_name, which is None where it has no picture; a row of a pair names them by
    jpg_0 and jpg_1.

    Raises:
        ExchangeError: it is no Parquet file or a damaged one, lacks a column, or holds too much.
    """
    arrow, parquet = _libraries()
    folder.mkdir(parents=True)
    try:
        with parquet.ParquetFile(file) as opened:
            _check(file.name, opened, arrow, most_bytes)
            return list(_taken(opened, folder, most_bytes, file.name))
    except (arrow.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        reason = str(error).split("\n")[0][:200]
        raise ExchangeError(f"{file.name} cannot be read as Parquet: {reason}. Write it again.") from error


def _check(name: str, opened: Any, arrow: ModuleType, most_bytes: int) -> None:
    schema = opened.schema_arrow
    if twice := [one for one in dict.fromkeys(schema.names) if schema.names.count(one) > 1]:
        raise ExchangeError(f"{name} has the column {twice[0]} more than once. Leave one of them out.")
    pictures = PAIR_PICTURES if _is_of_pairs(opened) else ("image",)
    if not _is_of_pairs(opened) and (missing := [one for one in NEEDED if one not in schema.names]):
        raise ExchangeError(
            f"{name} lacks the columns {', '.join(missing)}; it has {', '.join(schema.names) or 'none'}. Name them so."
        )
    for column in pictures:
        image = schema.field(column).type
        has_bytes = arrow.types.is_struct(image) and image.get_field_index("bytes") >= 0
        if not has_bytes and not arrow.types.is_binary(image) and not arrow.types.is_large_binary(image):
            raise ExchangeError(
                f"The column {column} of {name} holds {image}; it must hold the bytes of a picture file."
            )
    facts = opened.metadata
    if facts.num_rows > MOST_ROWS:
        raise ExchangeError(f"{name} has {facts.num_rows} rows; at most {MOST_ROWS} are taken. Split it.")
    if sum(facts.row_group(index).total_byte_size for index in range(facts.num_row_groups)) > most_bytes:
        raise _too_much(name)


def _is_of_pairs(opened: Any) -> bool:
    return set(PAIR_COLUMNS) <= set(opened.schema_arrow.names)


def _taken(opened: Any, folder: Path, most_bytes: int, name: str) -> Iterator[tuple[int, Row]]:
    read, pictures = (PAIR_COLUMNS, PAIR_PICTURES) if _is_of_pairs(opened) else (READ, ("image",))
    columns = [one for one in read if one in opened.schema_arrow.names]
    number = count = 0
    for batch in opened.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns):
        for row in batch.to_pylist():
            number += 1
            for column in pictures:
                image = row.pop(column)
                data = image.get("bytes") if isinstance(image, dict) else image
                count += len(data or b"")
                if count > most_bytes:
                    raise _too_much(name)
                key, file = ("file_name", f"{number}") if column == "image" else (column, f"{number} {column}")
                if data:
                    (folder / file).write_bytes(data)
                row[key] = file if data else None
            yield number, row


def _too_much(name: str) -> ExchangeError:
    return ExchangeError(f"{name} holds more than the lab takes at once ({MOST_BYTES // 2**30} GB). Split it.")


def _libraries() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ExchangeError(f"Parquet needs the library pyarrow. Install it: {DATASETS_EXTRA}") from error
    return pyarrow, parquet
