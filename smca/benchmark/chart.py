"""The plot of the benchmark: what co-attention costs over the size of the map, in units of plain attention."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.ticker import ScalarFormatter

from smca.visualization.figures import new_figure, rendered

PANELS = ("co-attention, forward", "co-attention, both ways")
NAMES = {"folded": "folded (ours)", "masked": "float mask", "explicit": "matrix products and softmax"}
COMMON = "cells, 300 queries, batch 1, float32"
COLOURS = {"folded": "#2563eb", "masked": "#f59e0b", "explicit": "#64748b"}


def draw(results: dict[str, Any]) -> bytes:
    """PNG of the ratios of float32 without dropout."""
    figure = new_figure(9.0, 3.6)
    panels = figure.subplots(1, 2, sharey=True)
    for panel, group in zip(panels, PANELS, strict=True):
        for form, colour in COLOURS.items():
            points = sorted(
                (_cells(row["setting"]), row["ratio"])
                for row in results["rows"]
                if row["group"] == group and row["what"] == form and row["setting"].endswith(COMMON)
            )
            if points:
                panel.plot(*zip(*points, strict=True), marker="o", color=colour, label=NAMES[form])
        panel.axhline(1, color="#111827", linewidth=0.8)
        panel.set_title(group)
        panel.set_xlabel("cells of the map")
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter(ScalarFormatter())
        panel.yaxis.set_minor_formatter(ScalarFormatter())
    panels[0].set_ylabel("time : plain attention")
    if panels[1].lines[1:]:
        panels[1].legend(frameon=False, loc="upper left")
    content = io.BytesIO()
    rendered(figure).save(content, "PNG")
    return content.getvalue()


def _cells(setting: str) -> int:
    rows, columns = setting.split(maxsplit=1)[0].split("x")
    return int(rows) * int(columns)
