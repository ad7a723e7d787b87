from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smca.detections import Detections
from smca.sizes import ImageSize
from smca.visualization.detections import COLOURS, colour_of, draw, line_width, to_picture


def found(width: int, height: int, names: tuple[str, ...] = ("person",)) -> Detections:
    """Boxes over the middle half of the image, all the same."""
    box = [width / 4, height / 4, width * 3 / 4, height * 3 / 4]
    n = len(names)
    boxes = np.array([box] * n, np.float32).reshape(n, 4)
    scores = np.linspace(0.9, 0.5, n).astype(np.float32)
    return Detections(boxes, scores, np.arange(n), names, ImageSize(height=height, width=width))


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


@pytest.mark.parametrize(("width", "height"), [(64, 48), (320, 320), (1200, 800)])
def test_the_box_is_drawn_in_its_class_colour_where_it_is(width: int, height: int) -> None:
    drawn = np.asarray(draw(np.zeros((height, width, 3), np.uint8), found(width, height)))
    assert drawn.shape == (height, width, 3)
    assert tuple(drawn[height // 2, width // 4]) == rgb(COLOURS[0])
    assert tuple(drawn[height * 3 // 4, width // 2]) == rgb(COLOURS[0])
    assert tuple(drawn[height // 2, width // 2]) == (0, 0, 0)


def test_the_best_detection_is_on_top() -> None:
    drawn = np.asarray(draw(np.zeros((200, 200, 3), np.uint8), found(200, 200, ("a", "b"))))
    assert tuple(drawn[100, 50]) == rgb(COLOURS[0])


def test_labels_stay_inside_the_picture() -> None:
    whole = Detections(
        np.array([[0, 0, 300, 200]], np.float32),
        np.array([0.9], np.float32),
        np.array([3]),
        ("a class with a long name",),
        ImageSize(height=200, width=300),
    )
    drawn = np.asarray(draw(np.zeros((200, 300, 3), np.uint8), whole))
    label = (drawn == rgb(COLOURS[3])).all(-1).sum(1)
    assert (label > 100).sum() > 10


def test_the_number_of_a_track_is_drawn() -> None:
    plain = found(300, 200)
    drawn = [
        np.asarray(draw(np.zeros((200, 300, 3), np.uint8), replace(plain, tracks=tracks)))
        for tracks in (None, np.array([-1]), np.array([7]))
    ]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_lines_grow_with_the_image() -> None:
    widths = [line_width(Image.new("RGB", (side, side))) for side in (64, 320, 1000, 4000)]
    assert widths == sorted(widths)
    assert widths[0] == 1
    assert widths[-1] >= 8


def test_colours_repeat_only_after_all_are_used() -> None:
    assert len({colour_of(label) for label in range(len(COLOURS))}) == len(COLOURS)
    assert colour_of(len(COLOURS)) == colour_of(0)


def test_nothing_found_is_the_image_itself() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    assert (np.asarray(draw(image, found(30, 20, ()))) == image).all()


def test_files_are_read_upright_and_in_colour(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (40, 20)).save(tmp_path / "turned.jpg", exif=exif)
    picture = to_picture(tmp_path / "turned.jpg")
    assert (picture.mode, picture.size) == ("RGB", (20, 40))


def test_scores_can_be_left_out() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    one = found(300, 200)
    assert draw(image, one).tobytes() != draw(image, one, with_scores=False).tobytes()


def test_colours_can_mean_something_else_than_the_class() -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    two = found(200, 200, ("a", "b"))
    drawn = {place: np.asarray(draw(image, two, colours=np.array([place, 0]))) for place in (1, 3)}
    for place, other in ((1, 3), (3, 1)):
        assert (drawn[place] == rgb(COLOURS[place])).all(axis=-1).any()
        assert not (drawn[place] == rgb(COLOURS[other])).all(axis=-1).any()
