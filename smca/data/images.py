"""Images: files of the usual formats -> uint8 tensor [3, height, width], RGB, 0..255, turned as its EXIF
orientation says.

Grey is repeated over the channels, 16-bit grey is scaled to 8 bits, transparency is laid over white, of an
animation the first frame is taken. Raises DataError, naming file and reason, for what cannot be decoded
completely, for images beyond Pillow's limit against decompression bombs (about 179 million pixels), and for
floating-point images. Only `FORMATS` are tried: others that Pillow knows start programs or fetch files. What is no
regular file (a pipe, a device) is not opened.
"""

from __future__ import annotations

import functools
import io
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torchvision.transforms.v2 import functional

from smca.errors import DataError
from smca.sizes import ImageSize

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")  # as Pillow calls them
_QUARTER_TURNS = (5, 6, 7, 8)
_JPEG_END, _PNG_END = b"\xff\xd9", b"\0\0\0\0IEND\xaeB`\x82"


@dataclass(frozen=True)
class ImageHeader:
    """What an image's header says; orientation is EXIF's 1..8."""

    stored: ImageSize
    orientation: int

    @property
    def size(self) -> ImageSize:
        """Size as seen, after orientation."""
        turned = self.orientation in _QUARTER_TURNS
        return ImageSize(height=self.stored.width, width=self.stored.height) if turned else self.stored


def read_header(path: Path) -> ImageHeader:
    """Size and orientation without decoding the pixels."""
    with _opened(path) as image:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        return ImageHeader(ImageSize(height=image.height, width=image.width), orientation)


def stored_size(content: bytes) -> ImageSize:
    """The size that an image's first bytes promise. Decodes nothing."""
    with _opened(content) as image:
        return ImageSize(height=image.height, width=image.width)


def check_image(path: Path) -> ImageHeader:
    """The header of an image that is there to its end: by its last bytes, else by decoding it."""
    header = read_header(path)
    with path.open("rb") as file:
        file.seek(-min(len(_PNG_END), path.stat().st_size), os.SEEK_END)
        end = file.read()
    if end != _PNG_END and not end.endswith(_JPEG_END):
        load_image(path)
    return header


def load_image(source: Path | str | bytes, name: str | None = None) -> torch.Tensor:
    """Decode a file, or the bytes of one; name: what to call it in an error, by default its path."""
    with _opened(source, name) as image:
        return to_tensor(image)


def to_tensor(image: Image.Image) -> torch.Tensor:
    """A Pillow image of any mode as uint8 [3, height, width]."""
    return functional.pil_to_tensor(_to_rgb(ImageOps.exif_transpose(image)))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise DataError("floating-point pixels have no known range, save as 8 or 16 bits")
    if image.mode.startswith("I"):
        return _from_16_bits(image)
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
    return image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    levels = np.asarray(image).astype(np.int64).clip(0, 65535)
    return Image.fromarray(((levels + 128) // 257).astype(np.uint8)).convert("RGB")


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow knows."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@contextmanager
def _opened(source: Path | str | bytes, called: str | None = None) -> Iterator[Image.Image]:
    """Open an image; whatever goes wrong with it inside the block becomes a DataError."""
    name = "image" if isinstance(source, bytes) and called is None else f"image {called or source}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(_checked(source), formats=_formats()) as image:
                yield image
    except FileNotFoundError as error:
        raise DataError(f"{name} does not exist") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{name} cannot be read: not an image, or of an unknown format") from error
    except Exception as error:  # a decoder of broken bytes raises anything
        reason = " ".join(str(error.strerror if isinstance(error, OSError) and error.strerror else error).split())
        raise DataError(f"{name} cannot be read: {reason or type(error).__name__}") from error


def _checked(source: Path | str | bytes) -> Path | io.BytesIO:
    """What Pillow may open: to open a pipe would wait for somebody to write."""
    if isinstance(source, bytes):
        return io.BytesIO(source)
    path = Path(source)
    if not stat.S_ISREG(path.stat().st_mode):
        raise DataError("it is no regular file")
    return path
