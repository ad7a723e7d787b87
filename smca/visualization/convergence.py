"""How fast systems learn: AP over epochs and over time, the mean of several runs with the band between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib import colormaps
from matplotlib.axes import Axes
from PIL import Image

from smca.visualization.curves import INK, style
from smca.visualization.figures import new_figure, rendered

COLOURS = [colormaps["tab20"](number) for number in range(20)]
STYLES = ("-", "--", ":")


class Curve(NamedTuple):
    """One run: epochs, seconds since its beginning, AP in [0, 1]."""

    epochs: Sequence[float]
    seconds: Sequence[float]
    ap: Sequence[float]


def convergence(systems: Mapping[str, Sequence[Curve]]) -> Image.Image:
    """Two panels side by side; the legend is in the order of the last AP."""
    figure = new_figure(11.0, 4.4)
    panels = figure.subplots(1, 2, sharey=True)
    order = sorted(systems, key=lambda name: -_mean([run.ap for run in systems[name]])[-1])
    for number, name in enumerate(order):
        colour, line = COLOURS[(2 * number) % 20 + (number >= 10)], STYLES[number // 10]
        runs = systems[name]
        _draw(panels[0], [run.epochs for run in runs], runs, name, colour, line)
        _draw(panels[1], [[s / 60 for s in run.seconds] for run in runs], runs, name, colour, line)
    style(panels[0], "AP on val, %")
    style(panels[1], "the same over time", "minutes of training", whole=False)
    panels[0].set_ylim(bottom=0)
    panels[1].legend(frameon=False, fontsize=8, labelcolor=INK, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return rendered(figure)


def _draw(
    panel: Axes, across: Sequence[Sequence[float]], runs: Sequence[Curve], name: str, colour: object, line: str
) -> None:
    heights = [[100 * value for value in run.ap] for run in runs]
    middle = _mean(across)
    panel.plot(middle, _mean(heights), line, color=colour, linewidth=1.8, label=name)
    if len(runs) > 1:
        columns = list(zip(*heights, strict=False))
        low, high = ([bound(column) for column in columns] for bound in (min, max))
        panel.fill_between(middle[: len(low)], low, high, color=colour, alpha=0.15, linewidth=0)


def _mean(rows: Sequence[Sequence[float]]) -> list[float]:
    """By position, over as many positions as all have."""
    return [sum(column) / len(column) for column in zip(*rows, strict=False)]
