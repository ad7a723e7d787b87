"""Where the queries of the detections looked: weight maps G, co-attention and scale weights as pictures.

`overview` has one row a detection; `per_head` shows one detection head by head. A map is drawn where its
cells lie: cell i of a level with stride s and offset o is centred at (i + o) * s pixels of the image the
model saw. G is drawn on its own scale 0..1, co-attention relative to its highest cell. A model without
modulation (DETR) has no G and no scale weights; their columns are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from smca.detections import Detections
from smca.sizes import ImageSize
from smca.visualization.detections import colour_of
from smca.visualization.figures import new_figure, rendered

PANEL = 1.5  # inches
LARGEST = 400  # pixels of an image's longer side in a panel
COLOUR_MAP = "inferno"
TITLE = {"fontsize": 9, "color": "#4b5563", "pad": 4}


@dataclass(frozen=True)
class LevelMaps:
    """One level's maps of the last decoder layer for n detections and M heads (1 if shared).

    stride: pixels of the image the model saw; offset: position of cell 0 in cells; weight_maps: G in [0, 1],
    float [n, M, h, w], or None; co_attention: probabilities [n, M, h, w].
    """

    name: str
    stride: int
    offset: float
    weight_maps: np.ndarray | None
    co_attention: np.ndarray

    def extent(self, seen: ImageSize, original: ImageSize) -> tuple[float, float, float, float]:
        """Edges (left, right, bottom, top) of the map and one cell around it, in the original's pixels."""
        rows, columns = self.co_attention.shape[-2:]
        across = self.stride * original.width / seen.width
        down = self.stride * original.height / seen.height
        near = self.offset - 1.5
        return near * across, (near + columns + 2) * across, (near + rows + 2) * down, near * down


@dataclass(frozen=True)
class Explanation:
    """n detections with what their queries (numbers [n]) saw.

    seen: the size the image had when the model saw it; scale_weights: [n, levels], rows sum to 1, or None;
    centres: [n, 2] (x, y) relative to the image, or None.
    """

    detections: Detections
    queries: np.ndarray
    seen: ImageSize
    levels: tuple[LevelMaps, ...]
    scale_weights: np.ndarray | None
    centres: np.ndarray | None


class _Kind(NamedTuple):
    """One column of the overview: a level's G or co-attention, [n, M, h, w]."""

    level: LevelMaps
    title: str
    maps: np.ndarray
    is_weight: bool


class _Canvas(NamedTuple):
    """The image as panels need it: small, in colour and in dimmed grey, and the size it really has."""

    colour: np.ndarray
    grey: np.ndarray
    size: ImageSize

    @staticmethod
    def of(image: Image.Image) -> _Canvas:
        small = image.convert("RGB")
        small.thumbnail((LARGEST, LARGEST))
        grey = np.asarray(small.convert("L")) * 0.6
        return _Canvas(np.asarray(small), grey, ImageSize(height=image.height, width=image.width))


def overview(image: Image.Image, explanation: Explanation) -> Image.Image:
    """Return one row a detection: box, G and co-attention per level (all heads together), scale weights."""
    rows = max(len(explanation.detections), 1)
    columns = 1 + len(_kinds(explanation.levels)) + (explanation.scale_weights is not None)
    height = PANEL * image.height / image.width
    figure = new_figure(columns * PANEL, rows * (height + 0.12) + 0.3)
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel in panels.flat:
        panel.set_axis_off()
    canvas = _Canvas.of(image)
    if not len(explanation.detections):
        _picture(panels[0, 0], canvas, "no detections")
    for index in range(len(explanation.detections)):
        _overview_row(panels[index], canvas, explanation, index)
    return rendered(figure)


def per_head(image: Image.Image, explanation: Explanation, index: int) -> Image.Image:
    """Return detection `index` with one column a head and two rows (G, co-attention) a level."""
    kinds = _kinds(explanation.levels)
    heads = max(kind.maps.shape[1] for kind in kinds)
    height = PANEL * image.height / image.width
    figure = new_figure((heads + 1) * PANEL, len(kinds) * (height + 0.25))
    panels = figure.subplots(len(kinds), heads + 1, squeeze=False)
    for panel in panels.flat:
        panel.set_axis_off()
    canvas = _Canvas.of(image)
    for row, kind in zip(panels, kinds, strict=True):
        _picture(row[0], canvas, kind.title)
        _box(row[0], explanation, index)
        extent = kind.level.extent(explanation.seen, canvas.size)
        shared = kind.maps.shape[1] == 1
        for head, panel in enumerate(row[1 : kind.maps.shape[1] + 1]):
            _heat(panel, canvas, _strength(kind.maps[index, head], kind.is_weight), extent)
            panel.set_title("all heads" if shared else f"head {head + 1}", **TITLE)
            _box(panel, explanation, index)
    return rendered(figure)


def _kinds(levels: Sequence[LevelMaps]) -> list[_Kind]:
    """What to show, in order: G of every level where there is one, then co-attention of every level."""
    weights = [
        _Kind(level, f"G  {level.name.upper()}", level.weight_maps, True)
        for level in levels
        if level.weight_maps is not None
    ]
    return weights + [_Kind(level, f"attention  {level.name.upper()}", level.co_attention, False) for level in levels]


def _overview_row(panels: Sequence[Axes], canvas: _Canvas, explanation: Explanation, index: int) -> None:
    detections = explanation.detections
    _picture(panels[0], canvas, f"{detections.names[index]}  {detections.scores[index]:.2f}")
    _box(panels[0], explanation, index)
    for panel, kind in zip(panels[1:], _kinds(explanation.levels), strict=False):
        heads = kind.maps[index]
        together = heads.max(0) if kind.is_weight else heads.mean(0)
        extent = kind.level.extent(explanation.seen, canvas.size)
        _heat(panel, canvas, _strength(together, kind.is_weight), extent)
        panel.set_title(kind.title, **TITLE)
        _box(panel, explanation, index)
    if explanation.scale_weights is not None:
        names = [level.name.upper() for level in explanation.levels]
        _bars(panels[-1], names, explanation.scale_weights[index], colour_of(int(detections.labels[index])))


def _strength(heat: np.ndarray, is_weight: bool) -> np.ndarray:
    """A map [h, w] in 0..1 with one more cell on every side, [h + 2, w + 2], as `LevelMaps.extent` says."""
    return np.pad(heat if is_weight else heat / max(float(heat.max()), 1e-12), 1, mode="edge").clip(0, 1)


def _picture(panel: Axes, canvas: _Canvas, title: str) -> None:
    panel.imshow(canvas.colour, extent=(0, canvas.size.width, canvas.size.height, 0))
    panel.set_title(title, **TITLE)


def _heat(panel: Axes, canvas: _Canvas, heat: np.ndarray, extent: tuple[float, float, float, float]) -> None:
    """Lay a map in 0..1 over the dimmed grey image; what is not looked at stays grey."""
    width, height = canvas.size.width, canvas.size.height
    panel.imshow(canvas.grey, "gray", vmin=0, vmax=255, extent=(0, width, height, 0))
    opacity = 0.85 * heat**0.5
    panel.imshow(heat, COLOUR_MAP, vmin=0, vmax=1, alpha=opacity, extent=extent, interpolation="bilinear")
    panel.set_xlim(0, width)
    panel.set_ylim(height, 0)


def _box(panel: Axes, explanation: Explanation, index: int) -> None:
    left, top, right, bottom = explanation.detections.boxes[index]
    colour = colour_of(int(explanation.detections.labels[index]))
    x, y = [left, right, right, left, left], [top, top, bottom, bottom, top]
    panel.plot(x, y, color="#101418", linewidth=2.0)
    panel.plot(x, y, color=colour, linewidth=1.0)
    if explanation.centres is not None:
        size = explanation.detections.size
        centre = explanation.centres[index] * (size.width, size.height)
        panel.plot(*centre, "+", color="white", markersize=6, markeredgewidth=1.2)


def _bars(panel: Axes, names: Sequence[str], values: np.ndarray, colour: str) -> None:
    panel.barh(range(len(names)), values, color=colour, height=0.6)
    for row, (name, value) in enumerate(zip(names, values, strict=True)):
        panel.text(-0.04, row, name, ha="right", va="center", fontsize=8, color="#4b5563")
        panel.text(float(value) + 0.03, row, f"{value:.2f}", va="center", fontsize=8, color="#111827")
    panel.set_xlim(-0.3, 1.3)
    panel.set_ylim(len(names) - 0.3, -0.7)
    panel.set_title("scale weights", **TITLE)
