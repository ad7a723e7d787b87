"""Prediction from names to files: what `smca predict` does.

Images, videos, URLs and cameras go through frame by frame, and what is found is written as it comes (`results`): memory
does not grow with their number. Sources that cannot be read, and videos that can be read in part, are listed and in
the report; DataError when none can be read. Ctrl-C completes the files with what was seen so far and then raises
KeyboardInterrupt; to a camera it is the end of the recording.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from smca.detections import Detections
from smca.errors import ConfigurationError, DataError
from smca.inference.frames import Frame, Frames
from smca.inference.interruption import stop_on_interrupt
from smca.inference.loading import Precision, load, processor_of
from smca.inference.predict import Predictor, threshold_of
from smca.inference.results import Results
from smca.inference.sources import Source, list_sources
from smca.inference.tracking import Tracker, tracker_class
from smca.progress import Progress


class VideoOptions(NamedTuple):
    """track: number the objects of videos; most_frames: of each video or camera, None for all."""

    track: bool = False
    most_frames: int | None = None


WHOLE_VIDEOS = VideoOptions()


@dataclass(frozen=True)
class PredictionReport:
    """Where the predictions are, how many images and frames of videos they cover, and what went wrong.

    unreadable: why each source that is missing could not be read; damaged: what is lacking of videos read in part;
    full: how many images, frames or tiles hold as many objects as the model has queries.
    """

    predictions: Path
    images: int
    unreadable: tuple[str, ...]
    frames: int = 0
    damaged: tuple[str, ...] = ()
    full: int = 0


def predict_files(
    model_folder: str | Path,
    sources: Sequence[str | Path],
    out: Path,
    *,
    threshold: float | None = None,
    tile: int | bool = False,
    video: VideoOptions = WHOLE_VIDEOS,
    batch: int = 1,
    device: str | None = None,
    precision: Precision = "fp32",
    compile: bool = False,
) -> PredictionReport:
    """Predict on all sources; write into `out`, where files of the same name are replaced.

    tile: see large images in tiles of that many pixels a side too, True for the model's own size.
    """
    listed = list_sources(sources)
    _check_tracking(video.track, listed)
    results = Results(listed, out)
    model = load(model_folder, device, precision, compile)
    lowest = threshold_of(model) if threshold is None else threshold
    tracker = Tracker(lowest) if video.track else None
    predictor = Predictor(model, processor_of(model), tracker.least if tracker else lowest, tile, batch)
    with stop_on_interrupt() as stop, results, Progress("predicting") as progress:
        frames = Frames(listed, stop, video.most_frames)
        for frame, found in _seen(frames, predictor, progress, 1 if tile else batch):
            results.add(frame, tracker(found, frame.moment) if tracker else found)
        report = _report(frames, results, predictor)
        _tell(report, listed, progress)
    if stop.is_set() and listed[0].kind != "camera":
        raise KeyboardInterrupt
    return report


def _check_tracking(track: bool, sources: Sequence[Source]) -> None:
    if not track:
        return
    if all(source.kind == "image" and not source.url for source in sources):
        raise ConfigurationError("--track follows objects through videos and cameras, but only still images are named")
    tracker_class()


def _seen(frames: Frames, predictor: Predictor, progress: Progress, batch: int) -> Iterator[tuple[Frame, Detections]]:
    """Frames with their detections, `batch` at once; Ctrl-C leaves out the image whose tiles are not all seen."""
    waiting, done = iter(frames), 0

    def tiles(seen: int, total: int) -> None:
        if frames.stop.is_set():
            raise KeyboardInterrupt
        progress(done + seen / total, frames.total, f"tile {seen} of {total}")

    while some := list(islice(waiting, batch)):
        try:
            found = predictor([frame.pixels for frame in some], [frame.source.name for frame in some], tiles)
        except KeyboardInterrupt:
            return
        yield from zip(some, found, strict=True)
        done += len(some)
        passed = done + len(frames.unreadable)
        progress(passed, frames.total and max(frames.total, passed))


def _report(frames: Frames, results: Results, predictor: Predictor) -> PredictionReport:
    return PredictionReport(
        predictions=results.predictions,
        images=results.images,
        unreadable=tuple(frames.unreadable),
        frames=results.frames,
        damaged=tuple(frames.damaged),
        full=predictor.full,
    )


def _tell(report: PredictionReport, sources: Sequence[Source], progress: Progress) -> None:
    """Say what could not be read and where more may be to be found; DataError when nothing could be read."""
    lacking, total = report.unreadable, len(sources)
    if len(lacking) == total:
        others = f" (nor any of the other {total - 1})" if total > 1 else ""
        raise DataError(f"{lacking[0]}{others}")
    if lacking:
        kind = "images" if all(source.kind == "image" for source in sources) else "sources"
        progress.print("\n  ".join([f"{len(lacking)} of {total} {kind} skipped:", *lacking]))
    for line in report.damaged:
        progress.print(line)
    if report.full:
        progress.print(
            f"{report.full} images, frames or tiles hold as many objects as the model has queries: it may have missed "
            "some; smaller --tile may find them"
        )
