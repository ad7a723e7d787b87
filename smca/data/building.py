"""From what a file says about an image to a clean `Record`, the same for every format.

Here images are found, boxes are clipped to the picture, boxes without area are dropped, and all of it is
noted in `Findings`. The picture's real size counts, not the one the annotations declare. Only where the
declared size is the stored size of an image that EXIF turns by a quarter are the boxes turned with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smca.data.images import ImageHeader, check_image
from smca.data.records import Findings, Identifier, Record
from smca.errors import DataError
from smca.files import is_file
from smca.sizes import ImageSize

_ROUNDING = 0.01  # pixels: a box this small is none, reaching this far outside is not worth noting

Corners = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class RawBox:
    """A box as a file states it: corners x1 y1 x2 y2 in pixels, unchecked; title names it in findings."""

    title: str
    corners: Corners
    label: int
    crowd: bool = False
    area: float | None = None


def find_image(file: str, folders: Sequence[Path], findings: Findings) -> tuple[Path, ImageHeader] | None:
    """Path and header of the first such file in the folders; None, noted, when missing or unreadable."""
    file = file.replace("\\", "/")
    candidates = (folder / part for part in (file, Path(file).name) for folder in folders)
    path = next((candidate for candidate in candidates if is_file(candidate)), None)
    if path is None:
        findings.missing_images.append(file)
        return None
    try:
        return path, check_image(path)
    except DataError as error:
        findings.unreadable_images.append(str(error))
        return None


def check_lost(findings: Findings, images: int, strict: bool) -> None:
    """DataError when no image is left, or when any is lost and `strict` is asked for."""
    missing, unreadable = findings.missing_images, findings.unreadable_images
    lost = len(missing) + len(unreadable)
    if lost and (strict or lost == images):
        examples = "; ".join((missing + unreadable)[:3])
        raise DataError(f"of {images} images {len(missing)} are missing and {len(unreadable)} unreadable: {examples}")


def build_record(
    image_id: Identifier,
    path: Path,
    header: ImageHeader,
    declared: ImageSize | None,
    raw: Sequence[RawBox],
    findings: Findings,
) -> Record:
    """The record of one image; `declared` is the size the annotations state, where they do."""
    turned = _is_turned(path, header, declared, findings)
    kept: list[tuple[RawBox, Corners]] = []
    for box in raw:
        corners = _turn(box.corners, header) if turned else box.corners
        clipped = _clean(corners, header.size, f"{box.title} ({path.name})", findings)
        if clipped is not None:
            kept.append((box, clipped))
    return Record(
        image_id=image_id,
        path=path,
        size=header.size,
        boxes=np.array([corners for _, corners in kept], dtype=np.float32).reshape(-1, 4),
        labels=np.array([box.label for box, _ in kept], dtype=np.int64),
        crowd=np.array([box.crowd for box, _ in kept], dtype=bool),
        areas=np.array([box.area or _area(corners) for box, corners in kept], dtype=np.float64),
    )


def _is_turned(path: Path, header: ImageHeader, declared: ImageSize | None, findings: Findings) -> bool:
    if declared is None or declared == header.size:
        return False
    if declared == header.stored:
        findings.turned_images.append(path.name)
        return True
    findings.wrong_sizes.append(f"{path.name} is {header.size}, declared {declared}")
    return False


def _turn(corners: Corners, header: ImageHeader) -> Corners:
    """From the stored image to the one EXIF orientations 5..8 show: x and y swap, then may be counted from
    the far side.
    """
    left, top, right, bottom = corners
    seen = header.size
    x1, x2 = (seen.width - bottom, seen.width - top) if header.orientation in (6, 7) else (top, bottom)
    y1, y2 = (seen.height - right, seen.height - left) if header.orientation in (7, 8) else (left, right)
    return x1, y1, x2, y2


def _clean(corners: Corners, size: ImageSize, title: str, findings: Findings) -> Corners | None:
    """The box within its image; None, noted, when nothing is left of it."""
    text = f"{title}: {', '.join(f'{value:g}' for value in corners)}"
    if not all(map(math.isfinite, corners)):
        findings.dropped_boxes.append(text)
        return None
    x1, y1, x2, y2 = corners
    inside = max(x1, 0.0), max(y1, 0.0), min(x2, float(size.width)), min(y2, float(size.height))
    if min(inside[2] - inside[0], inside[3] - inside[1]) <= _ROUNDING:
        findings.dropped_boxes.append(f"{text} in an image of {size}")
        return None
    if max(abs(new - old) for new, old in zip(inside, corners, strict=True)) > _ROUNDING:
        findings.clipped_boxes.append(f"{text} in an image of {size}")
    return inside


def _area(corners: Corners) -> float:
    return (corners[2] - corners[0]) * (corners[3] - corners[1])
