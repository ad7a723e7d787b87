"""Glyphs: the things a generated scene shows, as ink masks.

A mask is uint8 [h, w], 0 = no ink, 255 = ink, cropped tightly to its ink, about 100 pixels on its longer
side. Digits are the real handwritten ones of scikit-learn's bundled set (8 x 8 grey cells each, 1,797 of
them), brought up by cubic spline interpolation and thresholded softly. Shapes are drawn, each turned and
stretched at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import zoom
from sklearn.datasets import load_digits

INK = 96  # a pixel counts as ink from this mask value on
_CELL = 12  # pixels a cell of a digit becomes
_STROKE_LEVEL, _STROKE_SOFTNESS = 0.42, 0.16  # grey where a stroke's edge lies, and the edge's width in grey
_SPLINE = zoom(np.eye(10), (_CELL, 1), order=3, grid_mode=True, mode="grid-constant")  # cubic, from 10 to 120 samples
_CANVAS = 128
_SHAPES_PER_CLASS = 150


@dataclass(frozen=True)
class Glyphs:
    """Names of the classes and, for each class, its glyphs' masks."""

    names: tuple[str, ...]
    masks: tuple[tuple[np.ndarray, ...], ...]

    def split(self, fraction: float, rng: np.random.Generator) -> tuple[Glyphs, Glyphs]:
        """Two disjoint sets with the same classes; the second holds `fraction` of each class's glyphs."""
        first, second = [], []
        for masks in self.masks:
            order = rng.permutation(len(masks))
            held_back = round(len(masks) * fraction)
            second.append(tuple(masks[i] for i in order[:held_back]))
            first.append(tuple(masks[i] for i in order[held_back:]))
        return Glyphs(self.names, tuple(first)), Glyphs(self.names, tuple(second))


def digits() -> Glyphs:
    """The ten handwritten digits, "0" to "9", about 180 glyphs each."""
    pixels, classes = load_digits(return_X_y=True)
    masks: list[list[np.ndarray]] = [[] for _ in range(10)]
    for cells, digit in zip(pixels.reshape(-1, 8, 8), classes, strict=True):
        masks[digit].append(_smooth(cells))
    return Glyphs(tuple("0123456789"), tuple(map(tuple, masks)))


def _smooth(cells: np.ndarray) -> np.ndarray:
    grey = _SPLINE @ np.pad(cells / cells.max(), 1) @ _SPLINE.T
    ink = np.clip((grey - _STROKE_LEVEL) / _STROKE_SOFTNESS + 0.5, 0, 1)
    return crop_to_ink((ink * 255).round().astype(np.uint8))


def shapes(rng: np.random.Generator) -> Glyphs:
    """Eight kinds of shapes, each glyph turned by any angle and stretched by up to 1.4."""
    names = (*_OUTLINES, "ring", "crescent")
    masks = tuple(tuple(_shape(name, rng) for _ in range(_SHAPES_PER_CLASS)) for name in names)
    return Glyphs(names, masks)


def _shape(name: str, rng: np.random.Generator) -> np.ndarray:
    stretch = np.exp(rng.uniform(-0.17, 0.17))
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    image = Image.new("L", (_CANVAS, _CANVAS))
    draw = ImageDraw.Draw(image)
    for outline, value in _outlines(name):
        points = (outline * [stretch, 1 / stretch]) @ turn.T * 0.4 * _CANVAS + _CANVAS / 2
        draw.polygon([(float(x), float(y)) for x, y in points], fill=value)
    return crop_to_ink(np.asarray(image))


def _outlines(name: str) -> list[tuple[np.ndarray, int]]:
    """Polygons to fill one after the other in units of about the shape's radius, with 255 = ink, 0 = hole."""
    circle = _polygon(64)
    if name == "ring":
        return [(circle, 255), (circle * 0.55, 0)]
    if name == "crescent":
        return [(circle, 255), (circle * 0.85 + [0.45, 0], 0)]
    return [(_OUTLINES[name], 255)]


def _polygon(corners: int, radii: Sequence[float] = (1.0,)) -> np.ndarray:
    angles = np.arange(corners) * 2 * np.pi / corners
    radius = np.resize(radii, corners)
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)


_CROSS = [
    (1, 3),
    (1, 1),
    (3, 1),
    (3, -1),
    (1, -1),
    (1, -3),
    (-1, -3),
    (-1, -1),
    (-3, -1),
    (-3, 1),
    (-1, 1),
    (-1, 3),
]
_ARROW = [(-3, 1), (0.2, 1), (0.2, 2.4), (3, 0), (0.2, -2.4), (0.2, -1), (-3, -1)]
_OUTLINES = {
    "circle": _polygon(64),
    "triangle": _polygon(3),
    "square": _polygon(4),
    "star": _polygon(10, (1.0, 0.42)),
    "cross": np.array(_CROSS) / 3,
    "arrow": np.array(_ARROW) / 3,
}


def crop_to_ink(mask: np.ndarray) -> np.ndarray:
    """The mask without margins."""
    left, top, right, bottom = ink_box(mask >= INK)
    return mask[top:bottom, left:right]


def ink_box(ink: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom (right and bottom exclusive) of the true pixels of bool [h, w]; at least one
    is needed.
    """
    columns, rows = np.flatnonzero(ink.any(axis=0)), np.flatnonzero(ink.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
