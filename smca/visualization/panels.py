"""What the pictures of an explanation are put together from: a sheet in inches, and panels that show the image.

A `Canvas` is the image, or a window of it, as panels of one size show it; a `Panel` draws on it in pixels of the
original image. An image longer than `LONGEST` times its other side is drawn shorter than it is: as it is, its panels
would be lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import AbstractPathEffect, Normal, Stroke
from matplotlib.transforms import Affine2D, Bbox, TransformedBbox
from PIL import Image

from smca.visualization.detections import RIM
from smca.visualization.figures import DOTS_PER_INCH, new_figure, rendered

COLOUR_MAP = colormaps["inferno"]
LONGEST = 4.0
# Okabe and Ito's colours, told apart by colour-blind eyes too; white stands for their black, for dark pictures.
HEAD_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#ffffff")


def head_colour(head: int) -> str:
    """The colour of a head's outline as "#rrggbb"."""
    return HEAD_COLOURS[head % len(HEAD_COLOURS)]


class Style(NamedTuple):
    """How text looks."""

    colour: str
    weight: str = "normal"
    effects: tuple[AbstractPathEffect, ...] = ()


GREY, BOLD = Style("#4b5563"), Style("#111827", "bold")
ON_PICTURE = Style("white", "bold", (Stroke(linewidth=2.2, foreground=RIM), Normal()))


class Sheet:
    """A white page; everything is placed in inches from its left and upper edge."""

    def __init__(self, width: float, height: float) -> None:
        self.height = height
        self.figure = new_figure(width, height)
        self.figure.set_layout_engine("none")
        self.inches = Affine2D().scale(1, -1).translate(0, height) + self.figure.dpi_scale_trans

    def write(
        self, left: float, middle: float, text: str, size: float = 9.5, style: Style = GREY, align: str = "left"
    ) -> None:
        """Put a line of text as it is, without mathematics; `align` says which end of it is at `left`."""
        self.figure.text(
            left,
            middle,
            text,
            transform=self.inches,
            fontsize=size,
            ha=align,
            va="center_baseline",
            parse_math=False,
            color=style.colour,
            fontweight=style.weight,
            path_effects=list(style.effects),
        )

    def paste(self, left: float, top: float, pixels: np.ndarray) -> None:
        """Put uint8 pixels [rows, columns, 3], one a dot."""
        up = round((self.height - top) * DOTS_PER_INCH) - len(pixels)
        self.figure.figimage(pixels, round(left * DOTS_PER_INCH), up, origin="upper")

    def line(self, points: np.ndarray, colour: str, inside: Bbox) -> None:
        """Draw a line [n, 2] with a dark rim, which shows on any picture; what is not inside is cut off."""
        rim = [Stroke(linewidth=2.2, foreground=RIM), Normal()]
        line = Line2D(*points.T, color=colour, linewidth=1.1, path_effects=rim, transform=self.inches)
        line.set_clip_box(TransformedBbox(inside, self.inches))
        self.figure.add_artist(line)

    def dot(self, left: float, middle: float, colour: str, size: float = 5.5) -> None:
        """Put a dot of a size in points."""
        dot = Line2D([left], [middle], marker="o", color=colour, markersize=size, transform=self.inches)
        dot.set(markeredgecolor=RIM, markeredgewidth=0.6)
        self.figure.add_artist(dot)

    def cross(self, left: float, middle: float) -> None:
        """Put a white cross with a dark rim."""
        for colour, width, size in ((RIM, 2.8, 7.5), ("white", 1.2, 6)):
            cross = Line2D([left], [middle], marker="+", color=colour, markersize=size, transform=self.inches)
            cross.set(markeredgewidth=width)
            self.figure.add_artist(cross)

    def bar(self, left: float, middle: float, width: float, thickness: float, colour: str) -> None:
        """Put a bar that starts at `left`."""
        place = (left, middle - thickness / 2)
        bar = Rectangle(place, width, thickness, facecolor=colour, edgecolor=RIM, linewidth=0.5)
        bar.set_transform(self.inches)
        self.figure.add_artist(bar)

    def picture(self) -> Image.Image:
        """The sheet as an RGB picture."""
        return rendered(self.figure)


class Window(NamedTuple):
    """A part of an image in its pixels."""

    left: float
    top: float
    width: float
    height: float

    def around(self, points: np.ndarray, ratio: float) -> Window:
        """The smallest window within this one that holds points [n, 2] and is `ratio` as wide as high, if it can be."""
        near, far = points.min(axis=0), points.max(axis=0)
        width, height = np.maximum(far - near, (1, 1))
        width, height = max(width, height * ratio), max(height, width / ratio)
        width, height = min(width, self.width), min(height, self.height)
        left, top = (near + far - (width, height)) / 2
        right, bottom = self.left + self.width - width, self.top + self.height - height
        return Window(min(max(left, self.left), right), min(max(top, self.top), bottom), width, height)


@dataclass(frozen=True)
class Canvas:
    """A window of the image as panels of width x height inches show it: uint8 [h, w, 3], in colour and dimmed grey."""

    colour: np.ndarray
    dimmed: np.ndarray
    window: Window
    width: float
    height: float

    @staticmethod
    def of(image: Image.Image, longest: float) -> Canvas:
        """The whole image with a longer side of `longest` inches."""
        ratio = min(max(image.width / image.height, 1 / LONGEST), LONGEST)
        window = Window(0, 0, image.width, image.height)
        return Canvas.part(image, window, longest * min(1, ratio), longest * min(1, 1 / ratio))

    @staticmethod
    def part(image: Image.Image, window: Window, width: float, height: float) -> Canvas:
        """A window of the image, stretched to a size in inches."""
        pixels = (round(width * DOTS_PER_INCH), round(height * DOTS_PER_INCH))
        box = (window.left, window.top, window.left + window.width, window.top + window.height)
        small = image.resize(pixels, Image.Resampling.BICUBIC, box, reducing_gap=3)
        grey = np.asarray(small.convert("L").convert("RGB")) * 0.55
        return Canvas(np.asarray(small), grey, window, width, height)

    def resampled(self, heat: np.ndarray, cell: np.ndarray, offset: float) -> np.ndarray:
        """A map [rows, columns] at the canvas's pixels: linear between the centres of cells, constant outside them.

        cell: width and height of a cell in pixels of the original image; offset: place of cell 0 in cells.
        """
        rows, columns = self.dimmed.shape[:2]
        x = (self.window.left + (np.arange(columns) + 0.5) * self.window.width / columns) / cell[0] - offset
        y = (self.window.top + (np.arange(rows) + 0.5) * self.window.height / rows) / cell[1] - offset
        across = np.stack([np.interp(x, np.arange(heat.shape[1]), row) for row in heat])
        return np.stack([np.interp(y, np.arange(heat.shape[0]), column) for column in across.T], axis=1)

    def heat(self, strength: np.ndarray) -> np.ndarray:
        """Pixels of the dimmed image under a map [h, w] in 0..1; what is not looked at stays grey."""
        opacity = 0.9 * np.sqrt(strength)[..., None]
        warm = COLOUR_MAP(strength)[..., :3] * 255
        return (self.dimmed * (1 - opacity) + warm * opacity).round().astype(np.uint8)


class Panel(NamedTuple):
    """A canvas at a place of a sheet; points are in pixels of the original image."""

    sheet: Sheet
    canvas: Canvas
    left: float
    top: float

    def place(self, points: np.ndarray) -> np.ndarray:
        """Points [..., 2] in the sheet's inches."""
        window, canvas = self.canvas.window, self.canvas
        scale = (canvas.width / window.width, canvas.height / window.height)
        return (points - (window.left, window.top)) * scale + (self.left, self.top)

    def show(self, pixels: np.ndarray | None = None) -> None:
        """Fill the panel with the image, or with pixels of the canvas's size."""
        self.sheet.paste(self.left, self.top, self.canvas.colour if pixels is None else pixels)

    def line(self, points: np.ndarray, colour: str) -> None:
        """Draw a line [n, 2], cut off at the panel's edges."""
        edges = Bbox([[self.left, self.top], [self.left + self.canvas.width, self.top + self.canvas.height]])
        self.sheet.line(self.place(points), colour, edges.padded(0.012))

    def box(self, box: np.ndarray, colour: str) -> None:
        """Draw the outline of x1 y1 x2 y2."""
        left, top, right, bottom = box
        self.line(np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]), colour)

    def holds(self, point: np.ndarray) -> bool:
        """Whether a point lies in the panel."""
        left, top, width, height = self.canvas.window
        return bool(left <= point[0] <= left + width and top <= point[1] <= top + height)

    def dot(self, point: np.ndarray, colour: str) -> None:
        """Mark a head's centre, if the panel holds it."""
        if self.holds(point):
            left, middle = self.place(point)
            self.sheet.dot(left, middle, colour, 3.2)

    def note(self, text: str) -> None:
        """Put a word into the lower left corner."""
        self.sheet.write(self.left + 0.06, self.top + self.canvas.height - 0.1, text, 8.5, ON_PICTURE)

    def cross(self, point: np.ndarray) -> None:
        """Mark the point that all heads of a query start from."""
        self.sheet.cross(*self.place(point))
