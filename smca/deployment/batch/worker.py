"""A worker of a batch: an actor of Ray that holds the model, predicts one shard after the other and writes its file.

It computes on one thread (several workers share a machine's cores) or on one GPU, and reads images ahead on threads
of their own. What stops the whole batch, a full disk say, is in the result and not raised: Ray would try again.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from smca.data.images import load_image
from smca.deployment.batch import table
from smca.deployment.batch.attempts import Attempts
from smca.deployment.batch.folder import BatchFolder
from smca.deployment.batch.listing import Shard, pieces_of
from smca.deployment.batch.pieces import Kind, Piece
from smca.deployment.batch.tables import Item, read_items
from smca.detections import Detections
from smca.errors import ClusterError, DataError, ModelError, SmcaError
from smca.inference.loading import Precision, load, processor_of
from smca.inference.predict import predict_batch


@dataclass(frozen=True)
class Job:
    """What every worker of a batch is told. batch: images at once; readers: threads that read images."""

    model: Path
    device: str
    precision: Precision
    threshold: float
    batch: int
    readers: int
    kind: Kind
    folder: BatchFolder


class Picture(NamedTuple):
    """An image that was read: uint8 [3, height, width], or why there is none."""

    name: str
    pixels: Tensor | None
    error: str = ""


class Worker:
    """Called by Ray Data with one shard at a time."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        self._job = job
        self._stopped = ""
        try:
            _check_shared(job)
            self._model = load(job.model, job.device, job.precision)
            self._processor = processor_of(self._model)
        except SmcaError as error:
            self._stopped = str(error)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """{"shard", "images", "listing"} of one shard -> what `_result` says of it, each in a list."""
        shard = Shard(int(batch["shard"][0]), int(batch["images"][0]), Path(str(batch["listing"][0])))
        if self._stopped:
            return _result(shard, stopped=self._stopped)
        started = time.perf_counter()
        try:
            rows = self._attempt(shard)
            while rows is None:
                rows = self._attempt(shard)
        except SmcaError as error:
            return _result(shard, stopped=str(error))
        return _result(shard, rows, time.perf_counter() - started)

    def _attempt(self, shard: Shard) -> list[table.Row] | None:
        """The rows of the shard, which are then in OUT; None for an attempt that an image may have failed."""
        attempts = Attempts(self._job.folder.attempts, shard.number)
        try:
            rows = self._predict(shard, attempts)
        except SmcaError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the other images are still to be predicted
            attempts.failed(error)
            if self._job.device == "cuda":
                os._exit(1)  # a kernel that failed leaves the process without a GPU; Ray starts another
            return None
        table.write(self._job.folder.part(shard.number), rows)
        attempts.done()
        return rows

    def _predict(self, shard: Shard, attempts: Attempts) -> list[table.Row]:
        items = _items(pieces_of(shard), self._job.kind)
        rows = list(self._one_by_one(items, attempts) if attempts.careful else self._in_batches(items))
        if len(rows) != shard.images:
            raise DataError(f"shard {shard.number} has {len(rows)} images and had {shard.images} when it was listed")
        return rows

    def _in_batches(self, items: Iterator[Item]) -> Iterator[table.Row]:
        pictures = _ahead(_read, items, self._job.readers, self._job.batch + self._job.readers)
        while chunk := list(islice(pictures, self._job.batch)):
            yield from self._rows(chunk)

    def _one_by_one(self, items: Iterator[Item], attempts: Attempts) -> Iterator[table.Row]:
        for number, item in enumerate(items):
            if number in attempts.blamed:
                yield table.bad(item.name, attempts.blamed[number])
                continue
            attempts.at(number)
            yield from self._rows([_read(item)])

    def _rows(self, pictures: list[Picture]) -> list[table.Row]:
        """One row for each picture, in order; when some fail together each is tried alone."""
        seen = [picture for picture in pictures if picture.pixels is not None]
        try:
            found = iter(self._found(seen))
        except (ModelError, torch.OutOfMemoryError) as error:
            if len(pictures) > 1:
                return [row for picture in pictures for row in self._rows([picture])]
            return [table.bad(pictures[0].name, f"no prediction: {_reason(error, pictures[0].name)}")]
        return [
            table.bad(picture.name, picture.error) if picture.pixels is None else table.good(picture.name, next(found))
            for picture in pictures
        ]

    def _found(self, seen: list[Picture]) -> list[Detections]:
        if not seen:
            return []
        pixels = [picture.pixels for picture in seen if picture.pixels is not None]
        names = [picture.name for picture in seen]
        return predict_batch(self._model, self._processor, pixels, names, self._job.threshold)


def _check_shared(job: Job) -> None:
    """A worker on another machine would write where nobody looks."""
    for path in (job.folder.manifest, job.model):
        if not path.exists():
            where = "OUT, MODEL and the images must be on storage that all machines of the cluster see"
            raise ClusterError(f"{path} is not there on {socket.gethostname()}; {where}")


def _items(pieces: Iterable[Piece], kind: Kind) -> Iterator[Item]:
    for path, first, rows in pieces:
        if kind == "images":
            yield Item(path, Path(path))
        else:
            yield from read_items(Path(path), first, rows)


def _read(item: Item) -> Picture:
    if item.source is None:
        return Picture(item.name, None, "its row in the table is empty")
    try:
        return Picture(item.name, load_image(item.source))
    except DataError as error:
        return Picture(item.name, None, _reason(error, str(item.source)))


def _reason(error: Exception, name: str) -> str:
    """The error's message in one line, without the name of the image, which is in the row already."""
    return " ".join(str(error).removeprefix("image ").replace(name, "").split())


def _ahead(work: Callable[[Item], Picture], items: Iterator[Item], threads: int, most: int) -> Iterator[Picture]:
    """What `work` makes of the items, in order, begun on up to `most` items before they are asked for."""
    with ThreadPoolExecutor(threads) as pool:
        begun: deque[Future[Picture]] = deque()
        for item in items:
            begun.append(pool.submit(work, item))
            if len(begun) >= most:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()


def _result(
    shard: Shard, rows: Sequence[table.Row] = (), seconds: float = 0.0, stopped: str = ""
) -> dict[str, list[Any]]:
    """What the driver hears of a shard; `stopped` is why the batch cannot go on."""
    kinds = Counter(table.kind_of(row["error"]) for row in rows if "error" in row)
    return {
        "shard": [shard.number],
        "images": [len(rows)],
        "detections": [sum(len(row.get("labels", ())) for row in rows)],
        "seconds": [seconds],
        "errors": [json.dumps(kinds)],
        "stopped": [stopped],
    }
