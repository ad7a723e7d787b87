"""Videos and cameras, a frame at a time, and drawn videos: only one frame is ever in memory.

PyAV (FFmpeg in a wheel) reads and writes: it knows every frame's own time, so that a video of varying rate, or a
camera that is faster than the model, plays at the right speed, and it tells which way a phone was held. Sound is left
out. Raises DataError for what cannot be opened or holds no frame, OutputError for what cannot be written.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import av
import numpy as np
import torch
from av.container import InputContainer
from PIL import Image
from torch import Tensor

from smca.errors import DataError, OutputError
from smca.files import draft_of, writing

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".webm", ".wmv"}
)
# With what makes them good enough to look at; the second is in every build of FFmpeg.
CODECS = {"libx264": {"crf": "20", "preset": "veryfast"}, "mpeg4": {"qmin": "2", "qmax": "5"}}
TICKS = 60_000  # a second; mpeg4 counts no finer than 65,535
USUAL_RATE = Fraction(30)
TOLERANCE = 0.5


class Moment(NamedTuple):
    """Which frame of a video: index from 0, seconds since the first frame, frames a second of the video."""

    index: int
    seconds: float
    rate: Fraction


class Video:
    """An open video or camera: iterate for (moment, uint8 [3, height, width]); afterwards `lost` is known."""

    def __init__(self, container: InputContainer, name: str) -> None:
        if not container.streams.video:
            raise DataError(f"video {name} cannot be read: it has no pictures, only {_kinds(container)}")
        self.name = name
        self._container = container
        self._stream = container.streams.video[0]
        self._failed = 0
        self._read = 0
        self._end = 0.0
        self.rate = self._stream.average_rate or self._stream.guessed_rate or USUAL_RATE

    @property
    def expected(self) -> int | None:
        """About how many frames there are, by what the file says of itself."""
        seconds = self._seconds()
        return self._stream.frames or (None if seconds is None else round(seconds * self.rate))

    @property
    def lost(self) -> str | None:
        """What could not be read of what the file announces, in words."""
        seconds = self._seconds()
        early = seconds is not None and self._end < seconds - max(TOLERANCE, float(1.5 / self.rate))
        if not self._failed and not early:
            return None
        whole = self._read + self._failed if seconds is None else max(round(seconds * self.rate), self._read)
        missing = max(self._failed, whole - self._read)
        return f"video {self.name}: {missing} of {self._read + missing} frames lost, the file is damaged or cut off"

    def __iter__(self) -> Iterator[tuple[Moment, Tensor]]:
        first: float | None = None
        for frame in self._frames():
            at = frame.time if frame.time is not None else self._read / float(self.rate)
            first = at if first is None else first
            self._end = at - first + float((frame.duration or 0) * (frame.time_base or 0))
            yield Moment(self._read, at - first, self.rate), _upright(frame)
            self._read += 1
        if not self._read:
            raise DataError(f"video {self.name} cannot be read: no frame of it can be decoded")

    def _frames(self) -> Iterator[av.VideoFrame]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                self._failed += 1
                return
            if packet is None:
                return
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self._failed += 1
                continue
            yield from (frame for frame in frames if isinstance(frame, av.VideoFrame))

    def _seconds(self) -> float | None:
        if self._stream.duration and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base)
        return self._container.duration / av.time_base if self._container.duration else None


@contextmanager
def open_video(name: str, path: Path) -> Iterator[Video]:
    """The video in a file; `name` is what to call it."""
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"video {name} cannot be read: {_reason(error)}") from error
    with container:
        yield Video(container, name)


@contextmanager
def open_camera(name: str, number: int) -> Iterator[Video]:
    """The camera of that number, counted from 0."""
    location, device, options = camera_location(number)
    try:
        container = av.open(location, format=device, options=options)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise DataError(f"no {name} here: {location} cannot be opened: {_reason(error)}") from error
    with container:
        yield Video(container, name)


def camera_location(number: int) -> tuple[str, str, dict[str, str]]:
    """How FFmpeg calls a camera on this system: its place, its kind and the options it needs."""
    if sys.platform == "darwin":
        return str(number), "avfoundation", {"framerate": "30"}
    if sys.platform == "win32":
        found = [each.name for each in av.enumerate_input_devices("dshow") if "video" in each.media_types]
        return f"video={found[number] if number < len(found) else number}", "dshow", {}
    return f"/dev/video{number}", "video4linux2,v4l2", {}


class VideoFile:
    """An MP4 in the making, at its place only when complete. The first picture sets the size, made even.

    A context manager: nothing is left when the block fails.
    """

    def __init__(self, path: Path, rate: Fraction) -> None:
        self.path = path
        self._rate = rate
        self._tick = -1
        self._stream: Any = None
        with writing(path):
            self._draft = draft_of(path)
        with self._working():
            self._container = av.open(str(self._draft), "w", format="mp4", options={"movflags": "+faststart"})

    def add(self, picture: Image.Image, seconds: float) -> None:
        """Add a picture that is seen from `seconds` on; later than the one before."""
        if self._stream is None:
            self._stream = self._new_stream(picture)
        size = (self._stream.width, self._stream.height)
        fitting = picture if _even(picture) == size else picture.resize(size)
        frame = av.VideoFrame.from_ndarray(_padded(np.asarray(fitting), *size), format="rgb24")
        self._tick = max(self._tick + 1, round(seconds * TICKS))
        frame.pts, frame.time_base = self._tick, Fraction(1, TICKS)
        self._mux(frame)

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
            else:
                with suppress(av.FFmpegError, OSError):
                    self._container.close()
        finally:
            self._draft.unlink(missing_ok=True)

    def _finish(self) -> None:
        if self._stream is not None:
            self._mux(None)
        with self._working():
            self._container.close()
            self._draft.replace(self.path)

    def _new_stream(self, picture: Image.Image) -> Any:
        codec = next(name for name in CODECS if name in av.codecs_available)
        stream: Any = self._container.add_stream(codec, rate=self._rate.limit_denominator(TICKS))
        stream.width, stream.height = _even(picture)
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS)
        stream.options = CODECS[codec]
        return stream

    def _mux(self, frame: av.VideoFrame | None) -> None:
        with self._working():
            for packet in self._stream.encode(frame):
                self._container.mux(packet)

    @contextmanager
    def _working(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise OutputError(f"cannot write {self.path}: {_reason(error)}") from error


def _upright(frame: av.VideoFrame) -> Tensor:
    pixels = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)


def _even(picture: Image.Image) -> tuple[int, int]:
    """Width and height, which the encoder wants even."""
    return picture.width + picture.width % 2, picture.height + picture.height % 2


def _padded(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """The last column or row twice where the encoder wants one more."""
    return np.pad(pixels, ((0, height - pixels.shape[0]), (0, width - pixels.shape[1]), (0, 0)), "edge")


def _kinds(container: InputContainer) -> str:
    return ", ".join(sorted({stream.type for stream in container.streams})) or "an empty file"


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__
