"""What can be predicted on: names of files, folders and globs -> image files; any picture -> a tensor.

Raises DataError, one line, for a name that leads to nothing and for a picture of an unknown kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from smca.data.images import IMAGE_SUFFIXES, load_image, to_tensor
from smca.errors import DataError

ImageSource = str | Path | Image.Image | np.ndarray | torch.Tensor


def list_images(sources: Sequence[str | Path]) -> list[Path]:
    """Return the files that the names mean, each once: in the order given, sorted inside a folder or glob.

    A folder means the image files in it and below (known by suffix, hidden ones left out), a glob the image
    files it matches ("**" goes into folders). A file named outright is taken whatever its suffix.
    """
    found: dict[Path, Path] = {}
    for source in sources:
        for path in _expanded(str(source)):
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


def _expanded(source: str) -> Iterator[Path]:
    path = Path(source)
    if path.is_file():
        return iter([path])
    if path.is_dir():
        return _some((each for each in sorted(path.rglob("*")) if _is_image(each, path)), f"folder {source}")
    if any(sign in source for sign in "*?["):
        matches = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        return _some((each for each in matches if _is_image(each, path)), f"pattern {source}")
    raise DataError(f"no file or folder {source}")


def _is_image(path: Path, named: Path) -> bool:
    hidden = any(part.startswith(".") and part not in named.parts for part in path.parts)
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden and path.is_file()


def _some(paths: Iterator[Path], title: str) -> Iterator[Path]:
    found = list(paths)
    if not found:
        raise DataError(f"{title} holds no image; suffixes looked for: {' '.join(sorted(IMAGE_SUFFIXES))}")
    return iter(found)
