"""Pictures that are the same to the eye: by a hash of where grey values rise, 256 bits a picture.

    hash = [brightness at (x + 1, y) > brightness at (x, y)]    of the picture shrunk to 17 x 16 grey pixels

Twins differ in at most `MOST` bits and, seen as thumbnails, in at most `NEAR` of 255 grey values on average. Pictures
as flat as `FLAT` (deviation of their grey values) are nobody's twins: their bits are noise. Source: the "difference
hash" of image search.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from smca.data.images import load_image

SIDE = 16
MOST = 8
NEAR = 6.0
FLAT = 3.0


def twins(thumbnails: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Pairs of indices i < j of pictures that look alike; of many alike each stands with the one before it."""
    grey = np.array(thumbnails, np.int16).reshape(-1, SIDE, SIDE + 1)
    bits = np.packbits((grey[:, :, 1:] > grey[:, :, :-1]).reshape(len(grey), SIDE * SIDE), axis=1)
    textured = np.flatnonzero(grey.std(axis=(1, 2)) > FLAT)
    return [pair for pair in _candidates(bits, textured) if _alike(*pair, bits, grey)]


def thumbnail(path: Path) -> np.ndarray:
    """A picture as `twins` sees it; DataError where it cannot be decoded."""
    image = Image.fromarray(load_image(path).permute(1, 2, 0).numpy()).convert("L")
    return np.asarray(image.resize((SIDE + 1, SIDE), Image.Resampling.BOX))


def _candidates(bits: np.ndarray, among: np.ndarray) -> Iterator[tuple[int, int]]:
    """Neighbours of those that share a part of their bits: of MOST + 1 parts, MOST bits leave one untouched."""
    found: set[tuple[int, int]] = set()
    for part in np.array_split(bits, MOST + 1, axis=1):
        groups: dict[bytes, list[int]] = defaultdict(list)
        for index in among.tolist():
            groups[part[index].tobytes()].append(index)
        for group in groups.values():
            found.update(pairwise(group))
    yield from sorted(found)


def _alike(first: int, second: int, bits: np.ndarray, grey: np.ndarray) -> bool:
    differing = int(np.unpackbits(bits[first] ^ bits[second]).sum())
    return differing <= MOST and float(np.abs(grey[first] - grey[second]).mean()) <= NEAR
