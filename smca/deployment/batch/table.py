"""The Parquet that `smca batch` writes: a row for each image, bad ones too.

| column | type | |
|---|---|---|
| image | string | absolute path, or what the Parquet source calls it: its id, else path, else file:row |
| width, height | int32 | pixels of the original image; null when it is bad |
| labels | list<string> | class names, best score first; null when it is bad, empty when nothing was found |
| scores | list<float> | 0..1, descending |
| boxes | list<list<float>> | x1, y1, x2, y2 in pixels of the original image |
| error | string | why the image is bad; null when it is fine |
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from smca.detections import Detections
from smca.files import write_atomically

SCHEMA = pa.schema(
    {
        "image": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "labels": pa.list_(pa.string()),
        "scores": pa.list_(pa.float32()),
        "boxes": pa.list_(pa.list_(pa.float32())),
        "error": pa.string(),
    }
)
Row = dict[str, Any]


def good(name: str, detections: Detections) -> Row:
    """The row of an image that was predicted on."""
    return {
        "image": name,
        "width": detections.size.width,
        "height": detections.size.height,
        "labels": list(detections.names),
        "scores": detections.scores,
        "boxes": list(detections.boxes),
    }


def bad(name: str, error: str) -> Row:
    """The row of an image with the reason why it has no detections."""
    return {"image": name, "error": error}


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as one Parquet file, completely or not at all; OutputError when there is no room or no permission."""
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), content, compression="zstd")
    write_atomically(path, content.getvalue())


def kind_of(error: str) -> str:
    """The error without its numbers, to count errors by."""
    return re.sub(r"\d+", "N", error)
