"""The panels of an explanation: one map over the image, spreads, scale weights, and the legend that explains them.

G is drawn on its own scale 0..1, an attention relative to its highest cell. An outline is where a head's G has fallen
to exp(-1/2): one sigma from its centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from smca.visualization.detections import colour_of
from smca.visualization.explanation import Explanation, LevelMaps, Spread
from smca.visualization.panels import COLOUR_MAP, LONGEST, Panel, Sheet, head_colour

MARGIN, LINE = 0.14, 0.2  # inches, as all lengths here
BAR, BARS = 0.22, 1.35
DOT, DOTS = 0.33, 1.62
LONGEST_NAME = 40
STRIP = np.round(COLOUR_MAP(np.linspace(0, 1, 144))[None, :, :3].repeat(16, 0) * 255).astype(np.uint8)


class Map(NamedTuple):
    """A level's G or attention for all detections and heads, [n, M, h, w]."""

    level: LevelMaps
    values: np.ndarray
    is_weight: bool

    def strength(self, index: int, head: int | None = None) -> np.ndarray:
        """One head's map [h, w] in 0..1; of all heads together the highest G, or the mean attention."""
        heads = self.values[index]
        one = heads[head] if head is not None else heads.max(0) if self.is_weight else heads.mean(0)
        return one if self.is_weight else one / max(float(one.max()), 1e-12)


def maps_by_kind(levels: Sequence[LevelMaps]) -> dict[str, list[Map]]:
    """The kinds of map there are, by title, each with one map a level."""
    kinds = {
        "weight map G": [Map(level, level.weight_maps, True) for level in levels if level.weight_maps is not None],
        "co-attention": [Map(level, level.co_attention, False) for level in levels],
        "without Gaussian": [
            Map(level, level.plain_attention, False) for level in levels if level.plain_attention is not None
        ],
    }
    return {title: maps for title, maps in kinds.items() if maps}


def level_title(level: LevelMaps) -> str:
    """What a level is called in pictures."""
    return f"{level.name.upper()}, stride {level.stride}"


def title_of(explanation: Explanation, index: int) -> str:
    """Name and score of a detection."""
    name = explanation.detections.names[index]
    short = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."
    return f"{short}  {explanation.detections.scores[index]:.2f}"


def draw_box(panel: Panel, explanation: Explanation, index: int) -> None:
    """Draw a detection's box in the colour of its class."""
    panel.box(explanation.detections.boxes[index], class_colour(explanation, index))


def class_colour(explanation: Explanation, index: int) -> str:
    """The colour of a detection's class."""
    return colour_of(int(explanation.detections.labels[index]))


def draw_picture(panel: Panel, explanation: Explanation, index: int) -> None:
    """The image in colour with the detection's box."""
    panel.show()
    draw_box(panel, explanation, index)


def draw_spreads(panel: Panel, explanation: Explanation, level: LevelMaps, index: int) -> None:
    """The image in colour with the box, every head's outline and centre, and the point they start from."""
    draw_picture(panel, explanation, index)
    for head, spread in enumerate(explanation.spreads(level, index)):
        draw_spread(panel, spread, head)
    if explanation.centres is not None:
        size = explanation.detections.size
        panel.cross(explanation.centres[index] * (size.width, size.height))


def draw_spread(panel: Panel, spread: Spread, head: int) -> None:
    """One head's outline and centre."""
    panel.line(spread.outline, head_colour(head))
    panel.dot(spread.centre, head_colour(head))


def draw_map(panel: Panel, explanation: Explanation, one: Map, index: int, head: int | None = None) -> None:
    """A map of one head or of all over the dimmed image, with the box."""
    cell = explanation.cell(one.level)
    strength = panel.canvas.resampled(one.strength(index, head), cell, one.level.offset)
    panel.show(panel.canvas.heat(strength.clip(0, 1)))
    draw_box(panel, explanation, index)


def draw_bars(sheet: Sheet, explanation: Explanation, index: int, left: float, top: float) -> None:
    """How much the query listens to each level, in `BARS` inches."""
    if explanation.scale_weights is None:
        return
    start, longest = left + 0.3, BARS - 0.3 - 0.38
    for row, (level, share) in enumerate(zip(explanation.levels, explanation.scale_weights[index], strict=True)):
        middle = top + (row + 0.5) * BAR
        sheet.write(left, middle, level.name.upper())
        sheet.bar(start, middle, longest * float(share), 0.6 * BAR, class_colour(explanation, index))
        sheet.write(start + longest * float(share) + 0.05, middle, f"{share:.2f}")


def heads_of(explanation: Explanation) -> int:
    """How many G a query has on a level: its heads, 1 if they share one, 0 without modulation."""
    centres = explanation.levels[0].head_centres
    return 0 if centres is None else centres.shape[1]


def legend_size(explanation: Explanation) -> tuple[float, float]:
    """Width, margins included, and height that `draw_legend` needs."""
    heads = heads_of(explanation)
    scale = 1.08 + 0.072 * len(_scale(explanation))
    return 2 * MARGIN + max(scale, DOTS + DOT * heads), (1 + bool(heads)) * LINE


def _scale(explanation: Explanation) -> str:
    """What the bright end of the colours means."""
    size = explanation.detections.size
    bright = "1 for G, the highest cell for attention" if heads_of(explanation) else "the highest cell"
    return bright if 1 / LONGEST <= size.width / size.height <= LONGEST else f"{bright}; picture not in proportion"


def draw_legend(sheet: Sheet, explanation: Explanation, top: float) -> None:
    """What colours and outlines mean, and whether the picture is drawn in other proportions than its own."""
    heads, middle = heads_of(explanation), top + LINE / 2
    sheet.write(MARGIN, middle, "0")
    sheet.paste(MARGIN + 0.12, middle - 0.05, STRIP)
    sheet.write(MARGIN + 1.08, middle, _scale(explanation))
    if heads:
        sheet.write(MARGIN, middle + LINE, "one sigma of G" if heads == 1 else "one sigma of G, head")
    for head in range(heads):
        left = MARGIN + DOTS + DOT * head
        sheet.dot(left, middle + LINE, head_colour(head))
        sheet.write(left + 0.07, middle + LINE, str(head + 1) if heads > 1 else "all heads")
