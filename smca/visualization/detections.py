"""Boxes with names and scores drawn on an image, legible from 64 to 4000 pixels.

Line width and text grow with the image's diagonal. A class has one colour everywhere; all but the thinnest
lines have a dark rim, so that they show on any background. The picture keeps the image's size.
"""

from __future__ import annotations

from math import hypot
from pathlib import Path

import numpy as np
import supervision
from matplotlib import font_manager
from PIL import Image, ImageOps

from smca.detections import Detections

COLOURS = (
    "#ff5a5f", "#35a7ff", "#5fd35f", "#ffb000", "#c792ea", "#2ee6d6",
    "#ff8c42", "#f472b6", "#b8e62e", "#8ea8ff", "#ffd84d", "#e0a899",
)  # fmt: skip
RIM = "#101418"


def draw(
    image: Image.Image | np.ndarray | str | Path,
    detections: Detections,
    with_scores: bool = True,
    colours: np.ndarray | None = None,
) -> Image.Image:
    """Return an RGB copy of `image` (uint8 [H, W, 3] array, PIL image or file) with all detections on it.

    colours: places in `COLOURS`, int [n]; by default every class has its own.
    """
    picture = to_picture(image)
    if not len(detections):
        return picture
    # The best is drawn last, hence on top.
    shown = detections.take(np.arange(len(detections))[::-1])
    found = shown.to_supervision()
    chosen = shown.labels if colours is None else colours[::-1]
    width = line_width(picture)
    palette = supervision.ColorPalette.from_hex(list(COLOURS))
    if width > 1:
        picture = supervision.BoxAnnotator(supervision.Color.from_hex(RIM), width + 2).annotate(picture, found)
    picture = supervision.BoxAnnotator(palette, width).annotate(picture, found, chosen)
    return _labeller(picture, palette).annotate(picture, found, _texts(shown, with_scores), chosen)


def _texts(shown: Detections, with_scores: bool) -> list[str]:
    """The name of each, behind the number of its track where it has one, and its score."""
    tracks = [-1] * len(shown) if shown.tracks is None else shown.tracks.tolist()
    named = [f"#{track} {name}" if track >= 0 else name for track, name in zip(tracks, shown.names, strict=True)]
    return [f"{name} {score:.2f}" for name, score in zip(named, shown.scores, strict=True)] if with_scores else named


def to_picture(image: Image.Image | np.ndarray | str | Path) -> Image.Image:
    """Return an upright RGB copy of an image."""
    if isinstance(image, np.ndarray):
        return Image.fromarray(image).convert("RGB")
    opened = Image.open(image) if isinstance(image, (str, Path)) else image
    return ImageOps.exif_transpose(opened).convert("RGB")


def colour_of(label: int) -> str:
    """Return the colour of a class as "#rrggbb"."""
    return COLOURS[label % len(COLOURS)]


def line_width(picture: Image.Image) -> int:
    """Return the width of a box's line in pixels."""
    return round(1 + hypot(*picture.size) / 500)


def _labeller(picture: Image.Image, palette: supervision.ColorPalette) -> supervision.RichLabelAnnotator:
    size = round(9 + hypot(*picture.size) / 110)
    return supervision.RichLabelAnnotator(
        color=palette,
        text_color=supervision.Color.from_hex(RIM),
        font_path=font_manager.findfont("DejaVu Sans"),
        font_size=size,
        text_padding=max(1, size // 5),
        border_radius=size // 6,
        smart_position=True,
    )
