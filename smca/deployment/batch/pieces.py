"""What the source of a batch is made of: files in a fixed order, without all of them in memory.

A file is an image, or a Parquet table of images. The order is that of the parts of the path, so that two listings can
be compared side by side. Raises DataError for a source that is not there, empty, or of both kinds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from smca.data.images import IMAGE_SUFFIXES
from smca.deployment.batch.tables import table_rows
from smca.errors import DataError
from smca.inference.sources import FOREIGN_SUFFIXES

Kind = Literal["images", "tables"]
TABLE_SUFFIX = ".parquet"
LOOKED_FOR = IMAGE_SUFFIXES | FOREIGN_SUFFIXES | {TABLE_SUFFIX}


class Piece(NamedTuple):
    """`rows` rows of a Parquet file from row `first` on, or an image file, which is one row."""

    path: str
    first: int
    rows: int


def order(piece: Piece) -> tuple[str, ...]:
    """What pieces are sorted by."""
    return Path(piece.path).parts


def kind_of(source: Path) -> Kind:
    """Whether the source is image files or Parquet tables, by the first file of either sort, which is checked."""
    first = next(_files(source), None)
    if first is None:
        suffixes = " ".join(sorted(LOOKED_FOR))
        raise DataError(f"{source} holds no image and no Parquet file; suffixes looked for: {suffixes}")
    if _suffix(first) != TABLE_SUFFIX:
        return "images"
    table_rows(Path(first))
    return "tables"


def files_of(source: Path, kind: Kind) -> Iterator[Piece]:
    """All files of an absolute source, in order: an image as one row, a Parquet file with all of its rows."""
    for path in _files(source):
        if (_suffix(path) == TABLE_SUFFIX) != (kind == "tables"):
            raise DataError(f"{source} holds images and Parquet files, such as {path}; name one sort, '*.parquet' say")
        yield Piece(path, 0, table_rows(Path(path)) if kind == "tables" else 1)


def _files(source: Path) -> Iterator[str]:
    """As `smca predict` finds them: by suffix, in folders below too, hidden ones left out."""
    if source.is_dir():
        return _walk(str(source))
    if source.is_file():
        return iter([str(source)])
    if any(sign in str(source) for sign in "*?["):
        return _matches(source)
    raise DataError(f"no file or folder {source}")


def _walk(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        found = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)
        elif _is_looked_for(entry.name) and not entry.is_dir():
            yield entry.path


def _matches(pattern: Path) -> Iterator[str]:
    hidden = {part for part in pattern.parts if part.startswith(".")}
    found = Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor)))
    seen = (path for path in found if not any(part.startswith(".") and part not in hidden for part in path.parts))
    wanted = [path for path in seen if _is_looked_for(path.name) and not path.is_dir()]
    yield from map(str, sorted(wanted, key=lambda path: path.parts))


def _is_looked_for(name: str) -> bool:
    return _suffix(name) in LOOKED_FOR


def _suffix(path: str) -> str:
    return Path(path).suffix.lower()
