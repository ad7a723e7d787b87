"""The listing of a batch: which images are in which shard, written once into OUT/_listing and never changed.

A generation is one look at the source: a folder `_listing/000`, `001`, ..., of Parquet files with the columns shard,
path, first and rows, in order, a row group for each shard. A later generation holds what an earlier one did not.
Nothing here grows with the number of images in memory: generations are compared side by side.
"""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from smca.deployment.batch.pieces import Piece, order
from smca.errors import DataError, OutputError

SCHEMA = pa.schema({"shard": pa.int32(), "path": pa.string(), "first": pa.int64(), "rows": pa.int64()})
SHARDS_A_FILE = 1000
SMALLEST, LARGEST, SHARDS_OF_A_SIZE = 16, 1024, 64


@dataclass(frozen=True)
class Shard:
    """One unit of work: its number, how many images it has, and the file of the listing that names them."""

    number: int
    images: int
    listing: Path


def shard_sizes(fixed: int | None) -> Iterator[int]:
    """How many images each shard takes: `fixed`, or few at first, so that a small batch keeps many workers busy."""
    number = 0
    while True:
        yield fixed or min(SMALLEST << min(number // SHARDS_OF_A_SIZE, 16), LARGEST)
        number += 1


def shards(listing: Path) -> Iterator[Shard]:
    """All shards of the listing, in order."""
    for file in sorted(listing.glob("[0-9]*/*.parquet")):
        counts = pq.read_table(file, columns=["shard", "rows"]).group_by("shard", use_threads=False)
        for row in counts.aggregate([("rows", "sum")]).to_pylist():
            yield Shard(row["shard"], row["rows_sum"], file)


def pieces_of(shard: Shard) -> list[Piece]:
    """What the shard consists of."""
    table = pq.read_table(shard.listing, filters=[("shard", "==", shard.number)])
    return [Piece(row["path"], row["first"], row["rows"]) for row in table.to_pylist()]


def extend(listing: Path, found: Iterable[Piece], fixed: int | None) -> Iterator[int]:
    """Write a generation of what was `found` and is not in the listing yet; yields how many images so far.

    The generation is there when the iteration ends, and not at all when it is cut short or nothing is new.
    Raises DataError for a Parquet file that is listed with another number of rows.
    """
    generations = sorted(listing.glob("[0-9]*"))
    next_shard = max((shard.number for shard in shards(listing)), default=-1) + 1
    new = _not_in(found, heapq.merge(*map(_files, generations), key=order))
    temporary = listing / ".new"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        yield from _write(temporary, enumerate(_cut(new, shard_sizes(fixed)), next_shard))
        if temporary.is_dir():
            temporary.replace(listing / f"{len(generations):03d}")
    except OSError as error:
        raise OutputError(f"cannot write {listing}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(folder: Path, cut: Iterator[tuple[int, list[Piece]]]) -> Iterator[int]:
    total = 0
    while chunk := list(islice(cut, SHARDS_A_FILE)):
        folder.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(folder / f"{chunk[0][0]:08d}.parquet", SCHEMA, compression="zstd") as writer:
            for number, pieces in chunk:
                paths, firsts, rows = zip(*pieces, strict=True)
                columns = {"shard": [number] * len(pieces), "path": paths, "first": firsts, "rows": rows}
                writer.write_table(pa.table(columns, schema=SCHEMA))
                total += sum(rows)
        yield total


def _cut(files: Iterable[Piece], sizes: Iterator[int]) -> Iterator[list[Piece]]:
    shard: list[Piece] = []
    room = next(sizes)
    for path, _, rows in files:
        first = 0
        while first < rows:
            taken = min(rows - first, room)
            shard.append(Piece(path, first, taken))
            first, room = first + taken, room - taken
            if room == 0:
                yield shard
                shard, room = [], next(sizes)
    if shard:
        yield shard


def _files(generation: Path) -> Iterator[Piece]:
    """The files of one generation, each with all its rows again."""
    pieces = (Piece(path, 0, rows) for file in sorted(generation.glob("*.parquet")) for path, rows in _rows(file))
    for path, parts in groupby(pieces, lambda piece: piece.path):
        yield Piece(path, 0, sum(part.rows for part in parts))


def _rows(file: Path) -> Iterator[tuple[str, int]]:
    with pq.ParquetFile(file) as opened:
        for batch in opened.iter_batches(columns=["path", "rows"]):
            yield from zip(batch["path"].to_pylist(), batch["rows"].to_pylist(), strict=True)


def _not_in(found: Iterable[Piece], listed: Iterator[Piece]) -> Iterator[Piece]:
    known = next(listed, None)
    for piece in found:
        while known is not None and order(known) < order(piece):
            known = next(listed, None)
        if known is None or known.path != piece.path:
            yield piece
        elif known.rows != piece.rows:
            raise DataError(
                f"{piece.path} has {piece.rows} rows and had {known.rows} when it was listed; give new images in a "
                f"new file, or start anew with another OUT"
            )
