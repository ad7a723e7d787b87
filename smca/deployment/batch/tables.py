"""Parquet files that hold images: a column "bytes" (encoded images) or "path", and "id" where they have names.

A relative path is relative to the folder of its Parquet file. Where there are both, the bytes are read and the path
is the name. Raises DataError, naming the file, for other columns and for a file that cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from smca.errors import DataError

COLUMNS = ("id", "path", "bytes")
ALLOWED = "allowed: path (string) or bytes (binary), and beside them id (string or whole number)"
ROWS_AT_ONCE = 16


class Item(NamedTuple):
    """One image to predict: what it is called, and its file or bytes (None: the table says nothing)."""

    name: str
    source: Path | bytes | None


def table_rows(path: Path) -> int:
    """The number of rows of a Parquet file whose columns are as they should be."""
    with _opened(path) as file:
        _check_columns(path, file.schema_arrow)
        return file.metadata.num_rows


def read_items(path: Path, first: int, rows: int) -> Iterator[Item]:
    """The images in rows `first` .. `first + rows`, a few at a time in memory."""
    with _opened(path) as file:
        columns = [name for name in COLUMNS if name in file.schema_arrow.names]
        groups, start = _groups(file.metadata, first, rows)
        for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=groups, columns=columns):
            skipped = min(max(first - start, 0), len(batch))
            taken = batch.slice(skipped, max(first + rows - start - skipped, 0))
            for i, row in enumerate(taken.to_pylist(), start + skipped):
                yield _item(path, i, row)
            start += len(batch)
            if start >= first + rows:
                return


def _item(path: Path, number: int, row: dict[str, Any]) -> Item:
    name = next((row[key] for key in ("id", "path") if row.get(key) is not None), f"{path}:{number}")
    if "bytes" in row:
        return Item(str(name), row["bytes"])
    return Item(str(name), None if row["path"] is None else path.parent / row["path"])


def _groups(metadata: Any, first: int, rows: int) -> tuple[list[int], int]:
    """The row groups that hold the rows, and the number of the first row in them."""
    chosen: list[int] = []
    start, begins = 0, 0
    for group in range(metadata.num_row_groups):
        end = start + metadata.row_group(group).num_rows
        if end > first and start < first + rows:
            begins = begins if chosen else start
            chosen.append(group)
        start = end
    return chosen, begins


def _check_columns(path: Path, schema: pa.Schema) -> None:
    wanted = {
        "id": lambda kind: _is_text(kind) or types.is_integer(kind),
        "path": _is_text,
        "bytes": lambda kind: types.is_binary(kind) or types.is_large_binary(kind),
    }
    fits = all(check(schema.field(name).type) for name, check in wanted.items() if name in schema.names)
    if not fits or not {"path", "bytes"} & set(schema.names):
        found = ", ".join(f"{field.name} ({field.type})" for field in schema)
        raise DataError(f"{path} has the columns {found}; {ALLOWED}")


def _is_text(kind: pa.DataType) -> bool:
    return types.is_string(kind) or types.is_large_string(kind)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())}") from error
