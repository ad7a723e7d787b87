"""How a run learned: loss and AP over epochs from RUN/metrics.jsonl.

A line of that file is one epoch: `epoch` (counted from 1), `loss`, `AP`, `AP50` (fractions, null where
undefined). Raises `DataError` naming the line that cannot be read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from PIL import Image

from smca.errors import DataError
from smca.visualization.figures import new_figure, rendered

INK, GRID = "#4b5563", "#e5e7eb"
COLOURS = {"loss": "#64748b", "AP": "#2563eb", "AP50": "#f59e0b"}


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the epochs of a metrics.jsonl, in order."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        return [json.loads(line) for line in lines if line.strip()]
    except json.JSONDecodeError as error:
        raise DataError(f"{path} has a line that is not JSON: {error.doc[:60]}") from error


def loss_curve(epochs: Sequence[dict[str, Any]]) -> Image.Image:
    """Return a chart of the training loss."""
    return _chart(epochs, "training loss", ("loss",), 1.0)


def ap_curve(epochs: Sequence[dict[str, Any]]) -> Image.Image:
    """Return a chart of AP and AP50 in percent."""
    return _chart(epochs, "AP on val, %", ("AP", "AP50"), 100.0)


def _chart(epochs: Sequence[dict[str, Any]], title: str, keys: Sequence[str], factor: float) -> Image.Image:
    figure = new_figure(5.2, 3.2)
    panel = figure.subplots()
    for key in keys:
        _line(panel, epochs, key, factor)
    if len(keys) > 1:
        panel.set_ylim(bottom=0)
        panel.legend(frameon=False, fontsize=9, labelcolor=INK, loc="lower right")
    style(panel, title)
    return rendered(figure)


def _line(panel: Axes, epochs: Sequence[dict[str, Any]], key: str, factor: float) -> None:
    points = [(epoch["epoch"], factor * epoch[key]) for epoch in epochs if epoch.get(key) is not None]
    x, y = [point[0] for point in points], [point[1] for point in points]
    panel.plot(x, y, color=COLOURS[key], linewidth=2, marker="o", markersize=3, label=key)
    if points:
        panel.annotate(
            f"{y[-1]:.1f}",
            (x[-1], y[-1]),
            (5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=COLOURS[key],
        )


def style(panel: Axes, title: str, across: str = "epoch", whole: bool = True) -> None:
    """The look of all charts; `whole`: the axis below counts whole numbers."""
    panel.set_title(title, loc="left", fontsize=10, color=INK)
    panel.set_xlabel(across, fontsize=9, color=INK)
    panel.xaxis.set_major_locator(MaxNLocator(integer=whole))
    panel.grid(color=GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.tick_params(labelsize=8, colors=INK, length=0)
    panel.margins(x=0.08)
    for side in panel.spines.values():
        side.set_visible(False)
