"""A batch from beginning to end: what `smca batch` does.

The first run lists the source and predicts; a run that finds shards undone goes on with them; a run that finds all
done lists the source again and predicts what is new, and only that. Images are known by their path: one that
changes later is not looked at again.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from smca.deployment.batch.folder import BatchFolder, Manifest, model_hash
from smca.deployment.batch.listing import Shard, extend, shards
from smca.deployment.batch.pieces import Kind, files_of, kind_of
from smca.deployment.batch.session import Pool, session, stream
from smca.deployment.batch.worker import Job, Worker
from smca.errors import ClusterError, DataError
from smca.inference.loading import Precision, load
from smca.inference.predict import threshold_of
from smca.progress import Progress, duration

SHARDS_AT_ONCE = 10_000


@dataclass(frozen=True)
class BatchRequest:
    """What to do. shard: images a file of OUT, None: few at first and more later; batch: images at once."""

    model: Path
    source: str
    out: Path
    threshold: float | None = None
    batch: int = 1
    shard: int | None = None
    workers: int | None = None
    device: str | None = None
    precision: Precision = "fp32"
    address: str | None = None


@dataclass
class BatchReport:
    """What a run did.

    listed: images known; before: those done by earlier runs; images: done by this one, bad ones too; errors: how many
    of each kind; seconds: of this run with everything; worker_seconds: of predicting shards, all workers together.
    """

    out: Path
    listed: int
    before: int
    images: int = 0
    detections: int = 0
    workers: int = 0
    device: str = ""
    seconds: float = 0.0
    worker_seconds: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def bad(self) -> int:
        """Images of this run without detections because something is wrong with them."""
        return self.errors.total()

    def to_json(self) -> dict[str, Any]:
        """The numbers, of builtin types."""
        return {
            "out": str(self.out),
            "listed": self.listed,
            "done_before": self.before,
            "images": self.images,
            "bad": self.bad,
            "errors": dict(self.errors),
            "detections": self.detections,
            "workers": self.workers,
            "device": self.device,
            "seconds": self.seconds,
            "images_per_second": _rate(self.images, self.seconds),
            "worker_seconds": self.worker_seconds,
            "images_per_worker_second": _rate(self.images, self.worker_seconds),
        }

    def lines(self) -> list[str]:
        """What to tell a person."""
        if not self.images:
            return [f"nothing to do: all {self.listed} images are done"]
        known = f", {self.before} were done before" if self.before else ""
        workers = f"{self.workers} worker{'s' * (self.workers > 1)} on {self.device}"
        speed = f"{_rate(self.images, self.seconds):.1f} images/s, {workers}"
        first = f"{self.images} images in {duration(self.seconds)} ({speed}){known}, {self.bad} bad"
        return [first, *(f"  {count} {kind}" for kind, count in self.errors.most_common())]


def predict_everything(request: BatchRequest, say: Callable[[str], None]) -> BatchReport:
    """Predict on all images of the source; OUT holds a row for each. `say` is told what takes its time.

    Raises DataError for a source that cannot be used and when every image is bad, OutputError for OUT, ModelError,
    DeviceError and ClusterError. Shards that are finished stay whatever happens.
    """
    started = time.monotonic()
    source = Path(request.source).absolute()
    kind = kind_of(source)
    manifest = _manifest(request, source)
    folder = BatchFolder.claimed(request.out.absolute(), manifest)
    with folder.alone():
        todo = _todo(folder, source, kind, request.shard)
        listed = sum(shard.images for shard in shards(folder.listing))
        report = BatchReport(folder.path, listed, listed - sum(shard.images for shard in todo))
        if todo:
            say(f"starting workers for {listed - report.before} of {listed} images")
            with session(request.address, request.workers, request.device) as pool:
                _predict(todo, _job(request, manifest, kind, folder, pool), pool, report)
    report.seconds = time.monotonic() - started
    if report.images and report.bad == report.images and not report.before:
        raise DataError(f"none of {report.images} images could be used: {report.errors.most_common(1)[0][0]}")
    return report


def _manifest(request: BatchRequest, source: Path) -> Manifest:
    """Loads the model, to refuse one that is none before anything is written, and for its threshold."""
    model = load(request.model, "cpu")
    threshold = threshold_of(model) if request.threshold is None else request.threshold
    return Manifest(model_hash(request.model), str(source), threshold, request.precision, request.shard)


def _job(request: BatchRequest, manifest: Manifest, kind: Kind, folder: BatchFolder, pool: Pool) -> Job:
    return Job(
        model=request.model.absolute(),
        device=pool.device,
        precision=request.precision,
        threshold=manifest.threshold,
        batch=request.batch,
        readers=pool.cores,
        kind=kind,
        folder=folder,
    )


def _todo(folder: BatchFolder, source: Path, kind: Kind, fixed: int | None) -> list[Shard]:
    """The shards that are not done; when all are, those of images that are new."""
    undone = list(folder.undone(shards(folder.listing)))
    if undone:
        return undone
    with Progress("listing") as progress:
        for images in extend(folder.listing, files_of(source, kind), fixed):
            progress(images, None)
    todo = list(folder.undone(shards(folder.listing)))
    if not todo and not any(True for _ in shards(folder.listing)):
        raise DataError(f"{source} holds no image: its tables have no rows")
    return todo


def _predict(todo: list[Shard], job: Job, pool: Pool, report: BatchReport) -> None:
    report.workers, report.device = pool.workers, pool.device
    with closing(_results(todo, job, pool)) as results:
        started = list(islice(results, 1))
        with Progress("predicting") as progress:
            for result in chain(started, results):
                _add(report, result)
                progress(report.before + report.images, report.listed, f"{report.bad} bad" if report.bad else "")


def _add(report: BatchReport, result: dict[str, Any]) -> None:
    if result["stopped"]:
        raise ClusterError(result["stopped"])
    report.images += result["images"]
    report.detections += result["detections"]
    report.worker_seconds += result["seconds"]
    report.errors.update(json.loads(result["errors"]))


def _results(todo: list[Shard], job: Job, pool: Pool) -> Generator[dict[str, Any], None, None]:
    """Some thousands of shards at a time, so that the driver's memory does not grow with the batch."""
    left = iter(todo)
    while chunk := list(islice(left, SHARDS_AT_ONCE)):
        items = [{"shard": one.number, "images": one.images, "listing": str(one.listing)} for one in chunk]
        yield from stream(items, Worker, job, pool)


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds else 0.0
