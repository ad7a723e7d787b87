"""What `smca predict` writes: a drawn picture or video for each source, and predictions.json, as they come.

predictions.json: [{"image", "width", "height", "detections": [{"label", "score", "box": [x1, y1, x2, y2]}]}], an entry
a line, boxes in pixels of the original image. An entry of a video has "frame" (from 0) and "seconds" too, and where
objects are tracked each detection a "track" (null until it is seen twice). Every file is at its place only when
complete. Raises OutputError where a source would be replaced.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from PIL import Image
from torchvision.transforms.v2.functional import to_pil_image

from smca.detections import Detections
from smca.errors import OutputError
from smca.files import JsonList, write_atomically
from smca.inference.frames import Frame
from smca.inference.sources import Source
from smca.inference.video import Moment, VideoFile

LONGEST_JPEG = 65_500


class Results:
    """A context manager to `add` frames to, those of a video one after another."""

    def __init__(self, sources: Sequence[Source], out: Path) -> None:
        self.images = 0
        self.frames = 0
        self._out = out
        self._originals = {Path(source.name).resolve() for source in sources if Path(source.name).exists()}
        self._stems = _stems(sources)
        self.predictions = out / "predictions.json"
        self._list = JsonList(self.predictions)
        self._all, self._open = ExitStack(), ExitStack()
        self._video: VideoFile | None = None
        for source in sources:
            self._place(source, ".jpg" if source.kind == "image" else ".mp4")

    def add(self, frame: Frame, detections: Detections) -> None:
        """Draw a frame's detections and note them."""
        picture = detections.draw(to_pil_image(frame.pixels))
        entry: dict[str, Any] = {"image": frame.source.name}
        if frame.moment is None:
            self.images += 1
            _save(picture, self._place(frame.source, ".jpg"))
        else:
            self.frames += 1
            entry |= {"frame": frame.moment.index, "seconds": round(frame.moment.seconds, 6)}
            self._video_at(frame.source, frame.moment).add(picture, frame.moment.seconds)
        size = detections.size
        self._list.append({**entry, "width": size.width, "height": size.height, "detections": detections.to_json()})

    def __enter__(self) -> Results:
        self._all.enter_context(self._list)
        self._all.enter_context(self._open)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._all.__exit__(kind, error, trace)

    def _video_at(self, source: Source, moment: Moment) -> VideoFile:
        """The file of the video that this is a moment of; its first frame completes the one before."""
        if self._video is None or moment.index == 0:
            self._open.close()
            self._video = self._open.enter_context(VideoFile(self._place(source, ".mp4"), moment.rate))
        return self._video

    def _place(self, source: Source, suffix: str) -> Path:
        path = self._out / f"{self._stems[source]}{suffix}"
        if path.resolve() in self._originals:
            raise OutputError(f"writing into {self._out} would replace {path}; choose another folder")
        return path


def _stems(sources: Sequence[Source]) -> dict[Source, str]:
    """A name for each: its own stem, numbered where another had it first."""
    taken: set[str] = set()
    stems: dict[Source, str] = {}
    for source in sources:
        number, stem = 1, source.stem
        while stem in taken:
            number += 1
            stem = f"{source.stem}-{number}"
        taken.add(stem)
        stems[source] = stem
    return stems


def _save(picture: Image.Image, path: Path) -> None:
    if max(picture.size) > LONGEST_JPEG:  # a JPEG cannot be longer
        picture.thumbnail((LONGEST_JPEG, LONGEST_JPEG))
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=92)
    write_atomically(path, content.getvalue())
