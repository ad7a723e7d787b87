from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from smca.detections import Detections
from smca.sizes import ImageSize
from smca.visualization.attention import Explanation, LevelMaps, overview, per_head

SIZE = ImageSize(height=64, width=128)


def level(name: str, stride: int, n: int, heads: int, peak: tuple[int, int] = (0, 0)) -> LevelMaps:
    """Maps that are 1 in one cell (row, column) and 0 elsewhere."""
    maps = np.zeros((n, heads, SIZE.height // stride, SIZE.width // stride), np.float32)
    maps[..., peak[0], peak[1]] = 1
    return LevelMaps(name, stride, 0.5, maps, maps)


def explanation(n: int = 2, levels: tuple[LevelMaps, ...] | None = None) -> Explanation:
    detections = Detections(
        np.tile(np.array([[10, 10, 60, 50]], np.float32), (n, 1)),
        np.linspace(0.9, 0.5, n).astype(np.float32),
        np.arange(n),
        tuple(f"class {i}" for i in range(n)),
        SIZE,
    )
    levels = levels or (level("c4", 16, n, 2), level("c5", 32, n, 2))
    weights = np.full((n, len(levels)), 1 / len(levels))
    return Explanation(detections, np.arange(n), SIZE, levels, weights, np.full((n, 2), 0.5))


def without_modulation(n: int = 2) -> Explanation:
    levels = tuple(dataclasses.replace(one, weight_maps=None) for one in explanation(n).levels)
    return dataclasses.replace(explanation(n, levels), scale_weights=None, centres=None)


IMAGE = Image.new("RGB", (SIZE.width, SIZE.height), (90, 120, 150))


def test_a_map_lies_where_its_cells_are() -> None:
    maps = level("c5", 32, 1, 1)
    left, right, bottom, top = maps.extent(seen=SIZE, original=ImageSize(height=128, width=128))
    # Cell 0 is centred at 16 pixels of what the model saw, and one cell more is drawn on every side.
    assert (left, right) == (-32, 160)
    assert (top, bottom) == (-64, 192)


def test_the_shift_of_a_backbone_moves_the_map() -> None:
    maps = dataclasses.replace(level("c4", 16, 1, 1), offset=0.5 / 16)
    left, _, _, top = maps.extent(seen=SIZE, original=SIZE)
    assert (left, top) == (0.5 - 24, 0.5 - 24)


def test_the_overview_has_a_row_a_detection_and_a_column_a_map() -> None:
    one, two = overview(IMAGE, explanation(1)), overview(IMAGE, explanation(2))
    assert one.width == two.width
    assert two.height > 1.5 * one.height
    assert overview(IMAGE, without_modulation()).width == two.width * 3 // 6


def test_nothing_found_still_gives_a_picture() -> None:
    assert overview(IMAGE, explanation(0)).width == overview(IMAGE, explanation(1)).width


@pytest.mark.parametrize("heads", [1, 3])
def test_per_head_has_a_column_a_head(heads: int) -> None:
    levels = (level("c4", 16, 1, heads), level("c5", 32, 1, heads))
    wide = per_head(IMAGE, explanation(1, levels), 0)
    single = per_head(IMAGE, explanation(1, levels[:1]), 0)
    assert wide.width == (heads + 1) * 240
    assert wide.height == 2 * single.height


def test_what_a_query_looks_at_glows() -> None:
    def glow(peak: tuple[int, int]) -> np.ndarray:
        levels = (level("c4", 16, 1, 1, peak),)
        drawn = np.asarray(per_head(IMAGE, explanation(1, levels), 0), np.int64)
        half = drawn[:, drawn.shape[1] // 2 :]
        warmth = np.clip(half[..., 0] - half[..., 2], 0, None)
        return warmth[:, : warmth.shape[1] // 3].sum() - warmth[:, -warmth.shape[1] // 3 :].sum()

    assert glow((2, 0)) > 0 > glow((2, 7))


def test_heads_shared_by_all_stand_beside_heads_of_their_own() -> None:
    mixed = dataclasses.replace(level("c5", 32, 1, 4), weight_maps=level("c5", 32, 1, 1).weight_maps)
    assert per_head(IMAGE, explanation(1, (mixed,)), 0).width == 5 * 240
