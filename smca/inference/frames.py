"""The pictures of images, videos, URLs and cameras, one after another; only one is in memory at a time.

What cannot be read is listed on the way (`unreadable`), and so is a video of which only a part can be (`damaged`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from torch import Tensor

from smca.data.images import load_image
from smca.errors import DataError
from smca.inference.fetching import fetched
from smca.inference.sources import Source, camera_number
from smca.inference.video import Moment, Video, open_camera, open_video


@dataclass(frozen=True)
class Frame:
    """A picture, uint8 [3, height, width]: an image, or a frame of a video at its moment."""

    source: Source
    pixels: Tensor
    moment: Moment | None = None


class Frames:
    """Iterate for the frames of `sources`, of a video or camera at most `most`, until `stop` is set.

    total: about how many there are in all, as known so far; None for a camera.
    """

    def __init__(self, sources: Sequence[Source], stop: Event, most: int | None = None) -> None:
        self.total: int | None = len(sources)
        self.unreadable: list[str] = []
        self.damaged: list[str] = []
        self.stop = stop
        self._sources = sources
        self._most = most

    def __iter__(self) -> Iterator[Frame]:
        for source in self._sources:
            for frame in self._readable(source):
                yield frame
                if self.stop.is_set():
                    return

    def _readable(self, source: Source) -> Iterator[Frame]:
        try:
            yield from self._of(source)
        except DataError as error:
            self.unreadable.append(str(error))

    def _of(self, source: Source) -> Iterator[Frame]:
        with ExitStack() as stack:
            path, video = Path(source.name), source.kind == "video"
            if source.url:
                path, kind = stack.enter_context(fetched(source.name))
                video = kind.startswith("video/") if "/" in kind else video
            if video:
                yield from self._of_video(source, stack.enter_context(open_video(source.name, path)))
            elif source.kind == "camera":
                camera = stack.enter_context(open_camera(source.name, camera_number(source.name)))
                yield from self._of_video(source, camera)
            else:
                yield Frame(source, load_image(path.read_bytes() if source.url else path, source.name))

    def _of_video(self, source: Source, video: Video) -> Iterator[Frame]:
        self._expect(video)
        for moment, pixels in video:
            yield Frame(source, pixels, moment)
            if moment.index + 1 == self._most:
                return
        if video.lost:
            self.damaged.append(video.lost)

    def _expect(self, video: Video) -> None:
        counts = [count for count in (video.expected, self._most) if count]
        self.total = None if self.total is None or not counts else self.total - 1 + min(counts)
