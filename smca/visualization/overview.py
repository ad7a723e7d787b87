"""All detections of an image at a glance: a row each, or one line that says why there is none.

A row: the picture with the box; near it, close up, the spreads of the level that the query listens to most; then for
each level G, the co-attention and the attention without the Gaussian, all heads together; the scale weights.
"""

from __future__ import annotations

import textwrap
from typing import NamedTuple

import numpy as np
from PIL import Image

from smca.visualization.attention import (
    BAR,
    BARS,
    LINE,
    MARGIN,
    Map,
    draw_bars,
    draw_legend,
    draw_map,
    draw_picture,
    draw_spreads,
    heads_of,
    legend_size,
    level_title,
    maps_by_kind,
    title_of,
)
from smca.visualization.explanation import Explanation
from smca.visualization.panels import BOLD, Canvas, Panel, Sheet

PANEL, ALONE = 1.4, 5.4  # longer side of a picture in inches, as all lengths here
GAP, GROUP_GAP = 0.07, 0.24
MOST_ROWS = 40  # more would be no overview, and soon no picture that programs open


class _Column(NamedTuple):
    """A map with the left edge of its panels; the first of a kind has the kind's title."""

    left: float
    title: str
    map: Map


class _Layout(NamedTuple):
    """Left edges of close-ups, columns and bars; the page's width, and the height of a row."""

    close_up: float
    columns: list[_Column]
    bars: float
    width: float
    row: float


def overview(explanation: Explanation) -> Image.Image:
    """Draw the best detections, at most `MOST_ROWS`."""
    if not len(explanation):
        return _nothing(explanation)
    canvas = Canvas.of(explanation.image, PANEL)
    layout = _layout(explanation, canvas)
    rows = min(len(explanation), MOST_ROWS)
    needed, above = legend_size(explanation)
    top = MARGIN + above + 2.4 * LINE
    sheet = Sheet(max(layout.width, needed), top + rows * layout.row + MARGIN)
    draw_legend(sheet, explanation, MARGIN)
    _headings(sheet, layout, explanation, MARGIN + above + 0.8 * LINE)
    for index in range(rows):
        _row(sheet, layout, canvas, explanation, index, top + index * layout.row)
    return sheet.picture()


def _layout(explanation: Explanation, canvas: Canvas) -> _Layout:
    count = len(explanation.levels)
    slot = max(canvas.width, 0.95, (1.4 + GAP) / count - GAP)
    close_up = MARGIN + slot + GROUP_GAP
    columns, left = [], close_up + bool(heads_of(explanation)) * (slot + GROUP_GAP)
    for title, maps in maps_by_kind(explanation.levels).items():
        columns += [_Column(left + i * (slot + GAP), "" if i else title, one) for i, one in enumerate(maps)]
        left += count * (slot + GAP) - GAP + GROUP_GAP
    bars = explanation.scale_weights is not None
    width = left - GROUP_GAP + MARGIN + bars * (BARS + GROUP_GAP)
    return _Layout(close_up, columns, left, width, 1.4 * LINE + max(canvas.height, bars * BAR * count))


def _headings(sheet: Sheet, layout: _Layout, explanation: Explanation, middle: float) -> None:
    sheet.write(MARGIN, middle, "detection", 10.5, BOLD)
    if heads_of(explanation):
        sheet.write(layout.close_up, middle, "spreads", 10.5, BOLD)
        sheet.write(layout.close_up, middle + LINE, "close-up")
    for left, title, one in layout.columns:
        sheet.write(left, middle, title, 10.5, BOLD)
        sheet.write(left, middle + LINE, level_title(one.level))
    if explanation.scale_weights is not None:
        sheet.write(layout.bars, middle, "scale weights", 10.5, BOLD)


def _row(sheet: Sheet, layout: _Layout, canvas: Canvas, explanation: Explanation, index: int, top: float) -> None:
    sheet.write(MARGIN, top + 0.6 * LINE, title_of(explanation, index), 10.5, BOLD)
    top += 1.15 * LINE
    draw_picture(Panel(sheet, canvas, MARGIN, top), explanation, index)
    if heads_of(explanation):
        _close_up(sheet, canvas, explanation, index, layout.close_up, top)
    for left, _, one in layout.columns:
        draw_map(Panel(sheet, canvas, left, top), explanation, one, index)
    bars = BAR * len(explanation.levels)
    draw_bars(sheet, explanation, index, layout.bars, top + max(0, canvas.height - bars) / 2)


def _close_up(sheet: Sheet, canvas: Canvas, explanation: Explanation, index: int, left: float, top: float) -> None:
    """The spreads of the level the query listens to most, in a window that holds them and the box."""
    weights = explanation.scale_weights
    level = explanation.levels[0 if weights is None else int(weights[index].argmax())]
    box = explanation.detections.boxes[index].reshape(2, 2)
    outlines = [spread.outline for spread in explanation.spreads(level, index)]
    points = np.concatenate([box, *outlines])
    points = np.concatenate([points, box.mean(0) + 1.3 * (points - box.mean(0))])
    window = canvas.window.around(points, canvas.width / canvas.height)
    near = Canvas.part(explanation.image, window, canvas.width, canvas.height)
    panel = Panel(sheet, near, left, top)
    draw_spreads(panel, explanation, level, index)
    panel.note(level.name.upper())


def _nothing(explanation: Explanation) -> Image.Image:
    """The picture with the reason below it."""
    canvas = Canvas.of(explanation.image, ALONE)
    lines = [line for part in explanation.shortfall.split("; ") for line in textwrap.wrap(part, 74)]
    width = max(canvas.width, ALONE) + 2 * MARGIN
    sheet = Sheet(width, canvas.height + 3 * MARGIN + len(lines) * LINE)
    Panel(sheet, canvas, (width - canvas.width) / 2, MARGIN).show()
    for number, line in enumerate(lines):
        sheet.write(MARGIN, canvas.height + 2 * MARGIN + (number + 0.5) * LINE, line, 9.5)
    return sheet.picture()
