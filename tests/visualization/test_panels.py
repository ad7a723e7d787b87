"""Where things land on a sheet: pixels of the image, cells of a map, windows."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from smca.visualization.figures import DOTS_PER_INCH
from smca.visualization.panels import HEAD_COLOURS, LONGEST, Canvas, Panel, Sheet, Window, head_colour

BLACK = Image.new("RGB", (100, 50))


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def canvas_of(image: Image.Image, window: Window) -> Canvas:
    return Canvas.part(image, window, 2.0, 1.0)


@pytest.mark.parametrize("window", [Window(0, 0, 100, 50), Window(40, 10, 30, 20)])
def test_a_map_lies_where_its_cells_are(window: Window) -> None:
    """A map that counts its columns reads x / cell - offset at every pixel, as far as there are cells."""
    canvas, cell, offset = canvas_of(BLACK, window), np.array([4.0, 5.0]), 0.5
    rows, columns = np.indices((10, 25), float)
    x = window.left + (np.arange(320) + 0.5) * window.width / 320
    y = window.top + (np.arange(160) + 0.5) * window.height / 160
    found = canvas.resampled(columns, cell, offset)
    assert found.shape == (160, 320)
    assert found[7] == pytest.approx((x / 4 - offset).clip(0, 24))
    assert canvas.resampled(rows, cell, offset)[:, 9] == pytest.approx((y / 5 - offset).clip(0, 9))


def test_a_map_of_one_cell_covers_everything() -> None:
    found = canvas_of(BLACK, Window(0, 0, 100, 50)).resampled(np.array([[0.7]]), np.array([64.0, 64.0]), 0.0)
    assert (found == 0.7).all()


def test_what_is_not_looked_at_stays_grey_and_the_rest_glows() -> None:
    canvas = canvas_of(Image.new("RGB", (100, 50), (200, 100, 0)), Window(0, 0, 100, 50))
    strength = np.zeros((160, 320))
    strength[:, 160:] = 1
    pixels = canvas.heat(strength).astype(int)
    assert np.ptp(pixels[:, :160], axis=-1).max() == 0
    assert (pixels[:, 160:, 0] > 200).all()


@pytest.mark.parametrize("window", [Window(0, 0, 100, 50), Window(40, 10, 40, 20)])
def test_lines_are_drawn_in_pixels_of_the_image(window: Window) -> None:
    sheet = Sheet(3.0, 2.0)
    panel = Panel(sheet, canvas_of(BLACK, window), left=0.5, top=0.25)
    panel.show()
    panel.box(np.array([50, 15, 70, 25]), "#ff0000")
    panel.dot(np.array([60, 20]), "#00ff00")
    drawn = np.asarray(sheet.picture())
    assert drawn.shape == (2 * DOTS_PER_INCH, 3 * DOTS_PER_INCH, 3)

    def at(x: float, y: float) -> tuple[int, ...]:
        left, top = panel.place(np.array([x, y])) * DOTS_PER_INCH
        return tuple(drawn[int(top), int(left)])

    assert at(50, 20) == at(70, 20) == at(60, 15) == at(60, 25) == (255, 0, 0)
    assert at(60, 20) == (0, 255, 0)
    assert at(55, 22) == (0, 0, 0)
    assert tuple(drawn[40 + 80, 80 - 5]) == (255, 255, 255)


def test_lines_end_at_the_panels_edges() -> None:
    sheet = Sheet(3.0, 2.0)
    panel = Panel(sheet, canvas_of(BLACK, Window(0, 0, 100, 50)), left=0.5, top=0.5)
    panel.line(np.array([[-100.0, 25.0], [200.0, 25.0]]), "#ff0000")
    panel.dot(np.array([-10.0, 25.0]), "#ff0000")
    drawn = np.asarray(sheet.picture())
    assert (drawn[:, : 80 - 3] == 255).all()
    assert (drawn[:, 400 + 3 :] == 255).all()
    assert tuple(drawn[160, 240]) == (255, 0, 0)


@pytest.mark.parametrize(
    ("points", "ratio", "wanted"),
    [
        ([(40, 20), (50, 22)], 2.0, Window(40, 18.5, 10, 5)),
        ([(40, 20), (42, 30)], 2.0, Window(31, 20, 20, 10)),
        ([(0, 0), (10, 4)], 2.0, Window(0, 0, 10, 5)),
        ([(98, 48), (120, 60)], 2.0, Window(76, 38, 24, 12)),
        ([(-500, 20), (500, 30)], 2.0, Window(0, 0, 100, 50)),
        ([(7, 7), (7, 7)], 1.0, Window(6.5, 6.5, 1, 1)),
    ],
)
def test_a_window_holds_its_points_within_the_image(
    points: list[tuple[float, float]], ratio: float, wanted: Window
) -> None:
    assert Window(0, 0, 100, 50).around(np.array(points, float), ratio) == pytest.approx(wanted)


@pytest.mark.parametrize(("width", "height"), [(5000, 20), (20, 5000), (1, 1), (640, 480), (300, 100)])
def test_no_panel_is_a_line(width: int, height: int) -> None:
    canvas = Canvas.of(Image.new("RGB", (width, height)), 2.0)
    assert max(canvas.width, canvas.height) == pytest.approx(2.0)
    assert min(canvas.width, canvas.height) >= 2.0 / LONGEST
    assert canvas.colour.shape == (*canvas.dimmed.shape[:2], 3)
    if 1 / LONGEST <= width / height <= LONGEST:
        assert canvas.width / canvas.height == pytest.approx(width / height)


def test_text_is_taken_as_it_is() -> None:
    sheet = Sheet(2.0, 1.0)
    sheet.write(0.1, 0.5, r"$x$ and \bad$")
    assert np.asarray(sheet.picture()).min() < 128


def test_colours_of_heads_repeat_only_after_all_are_used() -> None:
    assert len({head_colour(head) for head in range(len(HEAD_COLOURS))}) == len(HEAD_COLOURS) == 8
    assert head_colour(8) == head_colour(0)
    assert rgb(head_colour(7)) == (255, 255, 255)
