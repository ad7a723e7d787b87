"""Matplotlib figures without its global state: made here, drawn here, returned as pictures."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

DOTS_PER_INCH = 160


def new_figure(width: float, height: float) -> Figure:
    """Return an empty white figure of a size in inches."""
    layout = ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.06)
    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout=layout, facecolor="white")


def rendered(figure: Figure) -> Image.Image:
    """Return the figure as an RGB picture."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def as_png(image: Image.Image) -> bytes:
    """The file of a picture."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
