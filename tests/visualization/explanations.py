"""Explanations made by hand: maps that are 1 in one cell, heads whose centres and spreads are known."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

from smca.detections import Detections
from smca.sizes import ImageSize
from smca.visualization.explanation import Explanation, LevelMaps

SIZE = ImageSize(height=64, width=128)
IMAGE = Image.new("RGB", (SIZE.width, SIZE.height), (90, 120, 150))


def level(name: str, stride: int, n: int = 1, heads: int = 2, peak: tuple[int, int] = (0, 0)) -> LevelMaps:
    """Maps that are 1 in one cell (row, column) and 0 elsewhere; heads centred there, three cells wide, two high."""
    maps = np.zeros((n, heads, SIZE.height // stride, SIZE.width // stride), np.float32)
    maps[..., peak[0], peak[1]] = 1
    centres = np.full((n, heads, 2), (peak[1] + 0.5, peak[0] + 0.5), np.float32)
    sigmas = np.full((n, heads, 2), (1.5, 1.0), np.float32)
    return LevelMaps(name, stride, 0.5, maps, maps, maps, centres, sigmas)


def explanation(n: int = 2, levels: tuple[LevelMaps, ...] | None = None, image: Image.Image = IMAGE) -> Explanation:
    """n detections in an image that the model saw at `SIZE`."""
    size = ImageSize(height=image.height, width=image.width)
    detections = Detections(
        np.tile(
            np.array([[0.1, 0.2, 0.5, 0.8]], np.float32) * (size.width, size.height, size.width, size.height), (n, 1)
        ),
        np.linspace(0.9, 0.5, n).astype(np.float32),
        np.arange(n),
        tuple(f"class {i}" for i in range(n)),
        size,
    )
    levels = levels or (level("c4", 16, n), level("c5", 32, n))
    return Explanation(
        image=image,
        detections=detections,
        threshold=0.5,
        highest_score=0.9 if n else 0.31,
        queries=np.arange(n),
        seen=SIZE,
        levels=levels,
        scale_weights=np.full((n, len(levels)), 1 / len(levels), np.float32),
        centres=np.full((n, 2), 0.5, np.float32),
    )


def without_modulation(n: int = 2) -> Explanation:
    """As DETR's."""
    levels = tuple(LevelMaps(one.name, one.stride, one.offset, one.co_attention) for one in explanation(n).levels)
    return dataclasses.replace(explanation(n, levels), scale_weights=None, centres=None)


def picture(width: int, height: int) -> Image.Image:
    """A plain picture of a size."""
    return Image.new("RGB", (width, height), (90, 120, 150))
