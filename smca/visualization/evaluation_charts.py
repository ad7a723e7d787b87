"""Charts of an evaluation: precision over recall, class by class, and what a threshold leads to.

Numbers are in [0, 1], None or NaN where undefined. Names of classes stand in the key beside a chart, not in it, so
that any script and any number of them can be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from smca.visualization.curves import style
from smca.visualization.figures import new_figure, rendered
from smca.visualization.page import Picture

COLOURS = [to_hex(colormaps["tab10"](number)) for number in range(10)]
FAINT, MEAN = "#c3c9d2", "#111827"
COLOURED = 5
SIZE = (4.7, 3.3)


def precision_over_recall(classes: Sequence[tuple[str, int]], precision: np.ndarray) -> Picture:
    """Precision [K, R] over recall from 0 to 1 of classes: name and how many objects.

    Up to ten have a colour each; of more, those with the most objects have.
    """
    figure = new_figure(*SIZE)
    panel = figure.subplots()
    recall = np.linspace(0, 1, precision.shape[1])
    means = precision.mean(axis=1)
    known = [label for label, mean in enumerate(means) if not np.isnan(mean)]
    order = sorted(known, key=lambda label: -classes[label][1])
    coloured = known if len(known) <= len(COLOURS) else order[:COLOURED]
    others = [label for label in known if label not in coloured]
    for label in others:
        panel.plot(recall, precision[label], color=FAINT, linewidth=0.7)
    key = []
    for label, colour in zip(coloured, COLOURS, strict=False):
        panel.plot(recall, precision[label], color=colour, linewidth=1.5)
        key.append((colour, f"{classes[label][0]} {_percent(means[label])}"))
    if known:
        panel.plot(recall, precision[known].mean(axis=0), color=MEAN, linewidth=2.6)
        key.insert(0, (MEAN, f"all classes {_percent(means[known].mean())}"))
    if others:
        key.append((FAINT, f"each of {len(others)} other classes"))
    _unit(panel, "precision", "recall")
    which = f"; coloured: the {COLOURED} classes with the most objects" if others else ""
    caption = f"Precision over recall at IoU .50, with AP50 in percent{which}" if known else "No objects, so no curve"
    return Picture(rendered(figure), caption, "half", chart=True, key=key)


def over_threshold(curves: Mapping[str, Sequence[float | None]], marked: float, note: str) -> Picture:
    """Curves over thresholds from 0 to 1, and the threshold in use; None leaves a gap."""
    figure = new_figure(*SIZE)
    panel = figure.subplots()
    key = []
    for (name, values), colour in zip(curves.items(), (MEAN, COLOURS[0], COLOURS[1]), strict=False):
        heights = np.array([np.nan if value is None else value for value in values])
        panel.plot(np.linspace(0, 1, len(heights)), heights, color=colour, linewidth=2.6 if colour == MEAN else 1.5)
        key.append((colour, name))
    panel.axvline(marked, color=COLOURS[3], linewidth=1.4, linestyle=(0, (4, 2)))
    _unit(panel, ", ".join(curves), "threshold")
    return Picture(rendered(figure), note, "half", chart=True, key=[*key, (COLOURS[3], f"threshold {marked:.3f}")])


def _unit(panel: Axes, title: str, across: str) -> None:
    style(panel, title, across, whole=False)
    panel.set_xlim(-0.02, 1.02)
    panel.set_ylim(-0.02, 1.03)
    panel.set_xticks(np.linspace(0, 1, 6))


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
