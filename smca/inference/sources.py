"""What can be predicted on: names of files, folders, globs, URLs and cameras -> images and videos; any picture -> a
tensor.

Raises DataError, one line, for a name that leads to nothing and for a picture of an unknown kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import numpy as np
import torch
from PIL import Image

from smca.data.images import IMAGE_SUFFIXES, load_image, to_tensor
from smca.errors import DataError
from smca.inference.fetching import check_scheme, is_url
from smca.inference.video import VIDEO_SUFFIXES

# Of pictures that Pillow may not read: a folder of a phone is not passed over in silence, each is read or listed.
FOREIGN_SUFFIXES = frozenset({".avif", ".heic", ".heif", ".jxl"})
CAMERA = re.compile(r"webcam(?::(\d{1,3}))?")

ImageSource = str | Path | Image.Image | np.ndarray | torch.Tensor


@dataclass(frozen=True)
class Source:
    """One image, video, URL (of either, as far as its name tells) or camera, by the name to call it."""

    name: str
    kind: Literal["image", "video", "camera"]
    url: bool = False

    @property
    def stem(self) -> str:
        """What files about it are called."""
        if not self.url:
            return self.name.replace(":", "-") if self.kind == "camera" else Path(self.name).stem
        parts = urlsplit(self.name)
        return re.sub(r"[^\w.-]+", "_", Path(unquote(parts.path)).stem) or parts.hostname or "url"


def list_sources(names: Sequence[str | Path]) -> list[Source]:
    """Return what the names mean, each once, in the order of `list_images`; folders and globs hold videos too.

    A file is a video by its suffix, else an image. A camera ("webcam", "webcam:1") is recorded alone.
    """
    found: dict[str | Path, Source] = {}
    for name in map(str, names):
        if not Path(name).exists() and is_url(name):
            check_scheme(name)
            found.setdefault(name, Source(name, _kind(urlsplit(name).path), url=True))
        elif not Path(name).exists() and CAMERA.fullmatch(name):
            found.setdefault(name, Source(name, "camera"))
        else:
            for path in _expanded(name, IMAGE_SUFFIXES | FOREIGN_SUFFIXES | VIDEO_SUFFIXES, "image or video"):
                found.setdefault(path.resolve(), Source(str(path), _kind(path.name)))
    sources = list(found.values())
    cameras = [source.name for source in sources if source.kind == "camera"]
    if cameras and len(sources) > 1:
        raise DataError(f"{cameras[0]} is recorded until Ctrl-C; name it alone")
    return sources


def camera_number(name: str) -> int:
    """Return which camera "webcam" (the first, 0) or "webcam:N" means."""
    found = CAMERA.fullmatch(name)
    return int(found[1] or 0) if found else 0


def list_images(sources: Sequence[str | Path]) -> list[Path]:
    """Return the files that the names mean, each once: in the order given, sorted inside a folder or glob.

    A folder means the image files in it and below (known by suffix, hidden ones left out), a glob the image
    files it matches ("**" goes into folders). A file named outright is taken whatever its suffix.
    """
    found: dict[Path, Path] = {}
    for source in sources:
        for path in _expanded(str(source), IMAGE_SUFFIXES, "image"):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def describe(source: ImageSource, index: int) -> str:
    """What to call a picture in a message: its path, or its place in the sequence."""
    return str(source) if isinstance(source, str | Path) else f"image {index}"


def read_image(source: ImageSource) -> torch.Tensor:
    """Return uint8 [3, height, width], RGB.

    Takes a path, a Pillow image, an array [height, width, 3] or [height, width], or a tensor
    [3, height, width]; array and tensor must be uint8.
    """
    if isinstance(source, str | Path):
        return load_image(source)
    if isinstance(source, Image.Image):
        return to_tensor(source)
    if isinstance(source, np.ndarray) and source.dtype == np.uint8 and source.ndim in (2, 3):
        pixels = torch.from_numpy(np.array(np.atleast_3d(source))).permute(2, 0, 1)
        return _checked(pixels.expand(3, -1, -1) if source.ndim == 2 else pixels)
    if isinstance(source, torch.Tensor) and source.dtype == torch.uint8:
        return _checked(source)
    kind = f"{type(source).__name__} of {source.dtype}" if hasattr(source, "dtype") else type(source).__name__
    raise DataError(f"cannot read an image from {kind}; allowed: path, Pillow image, uint8 array or tensor")


def _checked(pixels: torch.Tensor) -> torch.Tensor:
    if pixels.ndim != 3 or pixels.shape[0] != 3 or 0 in pixels.shape:
        raise DataError(f"an image needs 3 channels, found [channels, height, width] = {list(pixels.shape)}")
    return pixels


def _expanded(source: str, suffixes: frozenset[str], what: str) -> Iterator[Path]:
    path = Path(source)
    if path.is_file():
        return iter([path])
    if path.is_dir():
        return _some(path.rglob("*"), path, suffixes, f"folder {source} holds no {what}")
    if any(sign in source for sign in "*?["):
        matches = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
        return _some(matches, path, suffixes, f"pattern {source} holds no {what}")
    raise DataError(f"no file or folder {source}")


def _some(paths: Iterable[Path], named: Path, suffixes: frozenset[str], complaint: str) -> Iterator[Path]:
    found = [path for path in sorted(paths) if path.suffix.lower() in suffixes and _shown(path, named)]
    if not found:
        raise DataError(f"{complaint}; suffixes looked for: {' '.join(sorted(suffixes))}")
    return iter(found)


def _shown(path: Path, named: Path) -> bool:
    """A file that is not hidden, unless it was named so."""
    return path.is_file() and not any(part.startswith(".") and part not in named.parts for part in path.parts)


def _kind(name: str) -> Literal["image", "video"]:
    return "video" if Path(name).suffix.lower() in VIDEO_SUFFIXES else "image"
