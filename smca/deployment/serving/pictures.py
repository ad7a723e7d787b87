"""Uploaded bytes -> pixels, in two steps: what the header promises, and only if that is allowed the decoding.

Raises RefusalError: 413 for too many pixels, 415 for what is not a picture or is a broken one.
"""

from __future__ import annotations

from PIL import Image
from torch import Tensor

from smca.data.images import FORMATS, load_image, stored_size
from smca.deployment.serving.limits import RefusalError
from smca.deployment.serving.uploads import Upload
from smca.errors import DataError


def count_pixels(upload: Upload, most: int) -> int:
    """How many pixels a picture will have."""
    try:
        size = stored_size(upload.content)
    except DataError as error:
        if isinstance(error.__cause__, Image.DecompressionBombError):
            raise RefusalError(413, f"{upload.name} has too many pixels; allowed: {most}") from error
        raise _not_a_picture(upload, error) from error
    if size.height * size.width > most:
        reason = f"{upload.name} has {size.width} x {size.height} pixels; allowed: {most} in all"
        raise RefusalError(413, reason)
    return size.height * size.width


def decode(upload: Upload) -> Tensor:
    """Uint8 [3, height, width]."""
    try:
        return load_image(upload.content)
    except DataError as error:
        raise _not_a_picture(upload, error) from error


def _not_a_picture(upload: Upload, error: DataError) -> RefusalError:
    if not upload.content:
        return RefusalError(415, f"{upload.name} is empty")
    return RefusalError(415, f"{upload.name}: {error}; formats read: {', '.join(FORMATS)}")
