"""One detection in full: every head's spread on every level, then head by head G and both attentions.

Above, the picture with the box; for each level the same with all spreads; the scale weights. Below, a block a level
with a row a kind of map: all heads together, then a column a head.
"""

from __future__ import annotations

from PIL import Image

from smca.visualization.attention import (
    BARS,
    LINE,
    MARGIN,
    Map,
    draw_bars,
    draw_legend,
    draw_map,
    draw_picture,
    draw_spread,
    draw_spreads,
    heads_of,
    legend_size,
    level_title,
    maps_by_kind,
    title_of,
)
from smca.visualization.explanation import Explanation
from smca.visualization.panels import BOLD, Canvas, Panel, Sheet, head_colour

LARGE, SMALL = 2.2, 1.1  # longer side of a picture in inches, as all lengths here
GAP, BLOCK_GAP = 0.07, 0.14
TITLE = 1.2 * LINE
LABELS = 1.35


def per_head(explanation: Explanation, index: int) -> Image.Image:
    """Draw detection `index`."""
    large, small = Canvas.of(explanation.image, LARGE), Canvas.of(explanation.image, SMALL)
    kinds = maps_by_kind(explanation.levels)
    needed, above = legend_size(explanation)
    strip = MARGIN + TITLE + above + 0.5 * LINE
    blocks = strip + TITLE + large.height + 2 * BLOCK_GAP
    height = TITLE + len(kinds) * (_row(small) + GAP) + BLOCK_GAP
    heads = explanation.levels[0].co_attention.shape[1]
    widths = (needed, _strip_width(explanation, large), 2 * MARGIN + LABELS + (1 + heads) * (_slot(small) + GAP))
    sheet = Sheet(max(widths), blocks + len(explanation.levels) * height + MARGIN)
    title = f"{title_of(explanation, index)}   query {explanation.queries[index]}"
    sheet.write(MARGIN, MARGIN + 0.4 * LINE, title, 11.5, BOLD)
    draw_legend(sheet, explanation, MARGIN + TITLE)
    _strip(sheet, large, explanation, index, strip)
    for number, maps in enumerate(zip(*kinds.values(), strict=True)):
        rows = dict(zip(kinds, maps, strict=True))
        _block(sheet, small, explanation, index, rows, blocks + number * height)
    return sheet.picture()


def _slot(canvas: Canvas) -> float:
    """Width of a column, enough for its title."""
    return max(canvas.width, 0.72)


def _row(canvas: Canvas) -> float:
    """Height of a row, enough for its title."""
    return max(canvas.height, LINE)


def _step(canvas: Canvas) -> float:
    return max(canvas.width, 0.95) + 2 * GAP


def _strip_width(explanation: Explanation, canvas: Canvas) -> float:
    panels = 1 + bool(heads_of(explanation)) * len(explanation.levels)
    return 2 * MARGIN + panels * _step(canvas) + (explanation.scale_weights is not None) * BARS


def _strip(sheet: Sheet, canvas: Canvas, explanation: Explanation, index: int, top: float) -> None:
    sheet.write(MARGIN, top + 0.5 * LINE, "detection")
    draw_picture(Panel(sheet, canvas, MARGIN, top + TITLE), explanation, index)
    left = MARGIN + _step(canvas)
    for level in explanation.levels if heads_of(explanation) else ():
        sheet.write(left, top + 0.5 * LINE, level_title(level))
        draw_spreads(Panel(sheet, canvas, left, top + TITLE), explanation, level, index)
        left += _step(canvas)
    if explanation.scale_weights is not None:
        sheet.write(left, top + 0.5 * LINE, "scale weights")
        draw_bars(sheet, explanation, index, left, top + TITLE)


def _block(
    sheet: Sheet, canvas: Canvas, explanation: Explanation, index: int, rows: dict[str, Map], top: float
) -> None:
    """One level: the titles of its columns, then a row a kind."""
    level, own = next(iter(rows.values())).level, heads_of(explanation) > 1
    first, step = MARGIN + LABELS, _slot(canvas) + GAP
    sheet.write(MARGIN, top + 0.5 * LINE, level_title(level), 10.5, BOLD)
    sheet.write(first, top + 0.5 * LINE, "all heads")
    for head in range(level.co_attention.shape[1]):
        left = first + (head + 1) * step
        sheet.write(left + own * 0.12, top + 0.5 * LINE, f"head {head + 1}")
        if own:
            sheet.dot(left + 0.05, top + 0.5 * LINE, head_colour(head))
    for row, (title, one) in enumerate(rows.items()):
        edge = top + TITLE + row * (_row(canvas) + GAP)
        sheet.write(first - 0.1, edge + canvas.height / 2, title, align="right")
        _heads(sheet, canvas, explanation, index, one, (first, edge, step))


def _heads(
    sheet: Sheet, canvas: Canvas, explanation: Explanation, index: int, one: Map, place: tuple[float, float, float]
) -> None:
    """All heads together, and each by itself unless they share the map; place: left, top and step of the panels."""
    left, top, step = place
    heads = one.values.shape[1]
    draw_map(Panel(sheet, canvas, left, top), explanation, one, index)
    panels = [Panel(sheet, canvas, left + step * (head + (heads > 1)), top) for head in range(heads)]
    for head, panel in enumerate(panels if heads > 1 else ()):
        draw_map(panel, explanation, one, index, head)
    for head, spread in enumerate(explanation.spreads(one.level, index) if one.is_weight else ()):
        draw_spread(panels[head], spread, head)
