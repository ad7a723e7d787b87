"""Tiles: with a detector that sees what is visible of every object, each comes out once and whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from smca.detections import Detections
from smca.errors import ConfigurationError
from smca.inference.loading import processor_of
from smca.inference.predict import predict_with
from smca.inference.tiling import MARGIN, OVERLAP, SMALLEST, Gathered, View, predict_tiled, tile_side, views
from smca.modeling.detector import SmcaForObjectDetection
from smca.sizes import ImageSize

Predict = Callable[[Sequence[Tensor]], list[Detections]]
NAMES = ("cat", "dog")


def as_detections(boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, size: ImageSize) -> Detections:
    names = tuple(NAMES[label] for label in labels)
    return Detections(boxes.astype(np.float32), scores.astype(np.float32), labels, names, size)


def coordinates(size: ImageSize) -> Tensor:
    """An image [3, height, width] whose first two channels tell where a pixel is."""
    y, x = np.indices(size, dtype=np.int64)
    return torch.from_numpy(np.stack([x, y, x]))


def perfect(boxes: np.ndarray, labels: np.ndarray, smallest: float = 0.0, blur: float = 0.0) -> Predict:
    """A detector that gives the visible part of every object; `smallest`: seen, as a share of a view's longer side.

    blur: cut boxes end so many pixels before the seam.
    """

    def see(pixels: Tensor) -> Detections:
        x1, y1, x2, y2 = (int(one) for one in (*pixels[:2, 0, 0], *(pixels[:2, -1, -1] + 1)))
        low, high = np.array([x1, y1, x1, y1]), np.array([x2, y2, x2, y2])
        seen = np.clip(boxes, low, high)
        seen += blur * ((boxes < low) * 1.0 - (boxes > high) * 1.0)
        visible = (seen[:, 2:] > seen[:, :2]).all(axis=1)
        visible &= (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) >= smallest * max(x2 - x1, y2 - y1)
        scores = 1 - 0.5 * np.arange(len(boxes)) / max(len(boxes), 1) - 0.1 * (x1 % 7) / 7
        size = ImageSize(height=y2 - y1, width=x2 - x1)
        return as_detections((seen - low)[visible], labels[visible], scores[visible], size)

    return lambda images: [see(image) for image in images]


def rows(boxes: np.ndarray, labels: np.ndarray) -> list[tuple[float, ...]]:
    return sorted((*box, float(label)) for box, label in zip(boxes.tolist(), labels.tolist(), strict=True))


def hides(box: list[int], others: list[list[int]]) -> bool:
    """Whether a box and another have more than a third of the smaller in common: parts of them may look alike."""
    for other in others:
        width, height = (min(box[i + 2], other[i + 2]) - max(box[i], other[i]) for i in (0, 1))
        common = max(width, 0) * max(height, 0)
        if 3 * common > min((each[2] - each[0]) * (each[3] - each[1]) for each in (box, other)):
            return True
    return False


@st.composite
def scenes(draw: st.DrawFn, least: int = 1, crowded: bool = True) -> tuple[ImageSize, np.ndarray, np.ndarray]:
    """An image and up to 20 objects in it, of all sizes from `least` pixels on; crowded: they may hide each other."""
    size = ImageSize(height=draw(st.integers(least, 400)), width=draw(st.integers(least, 400)))
    boxes: list[list[int]] = []
    for _ in range(draw(st.integers(0, 20))):
        width, height = (draw(st.integers(least, most)) for most in (size.width, size.height))
        x, y = draw(st.integers(0, size.width - width)), draw(st.integers(0, size.height - height))
        box = [x, y, x + width, y + height]
        if crowded or not hides(box, boxes):
            boxes.append(box)
    labels = draw(st.lists(st.integers(0, 1), min_size=len(boxes), max_size=len(boxes)))
    return size, np.array(boxes, float).reshape(-1, 4), np.array(labels, np.int64)


@settings(deadline=None, max_examples=150)
@given(scene=scenes(), tile=st.integers(SMALLEST, 200), batch=st.integers(1, 3))
def test_every_object_comes_out_once_and_whole(
    scene: tuple[ImageSize, np.ndarray, np.ndarray], tile: int, batch: int
) -> None:
    size, boxes, labels = scene
    found = predict_tiled(perfect(boxes, labels), coordinates(size), tile, batch)
    assert found.size == size
    assert rows(found.boxes, found.labels) == rows(boxes, labels)
    assert (np.diff(found.scores) <= 0).all()


@settings(deadline=None, max_examples=100)
@example(scene=(ImageSize(height=360, width=21), np.array([[0.0, 60, 21, 126]]), np.array([0])), tile=64)
@given(scene=scenes(least=21, crowded=False), tile=st.integers(64, 100))
def test_no_object_depends_on_luck_with_the_seams(scene: tuple[ImageSize, np.ndarray, np.ndarray], tile: int) -> None:
    """Blind to what is below a fifth of a view, the detector still finds all that is a fifth of a tile."""
    size, boxes, labels = scene
    found = predict_tiled(perfect(boxes, labels, smallest=1 / 5), coordinates(size), tile)
    assert rows(found.boxes, found.labels) == rows(boxes, labels)


@settings(deadline=None, max_examples=100)
@given(size=st.builds(ImageSize, st.integers(1, 3000), st.integers(1, 3000)), side=st.integers(SMALLEST, 700))
def test_tiles_cover_the_image_and_overlap_enough(size: ImageSize, side: int) -> None:
    whole, *tiles = views(size, side)
    assert whole[:5] == (0, 0, size.width, size.height, 0)
    assert bool(tiles) == (max(size) > side)
    for each in tiles:
        assert 0 <= each.left < each.right <= size.width
        assert 0 <= each.top < each.bottom <= size.height
    finest = [each for each in tiles if each.margin == MARGIN * side]
    assert all(max(each.right - each.left, each.bottom - each.top) == side for each in finest)
    for first, last, length in ((0, 2, size.width), (1, 3, size.height)):
        spans = sorted({(each[first], each[last]) for each in finest})
        assert not spans or (spans[0][0], spans[-1][1]) == (0, length)
        assert all(a[1] - b[0] >= round(OVERLAP * side) for a, b in pairwise(spans))


def test_a_piece_that_stops_before_the_seam_is_recognised() -> None:
    """The whole of an object is kept, be it the worse scored, and the pieces go."""
    boxes = np.array([[20.0, 100, 300, 180], [150, 300, 170, 320]])
    labels = np.array([0, 0])
    size = ImageSize(height=400, width=400)
    found = predict_tiled(perfect(boxes, labels, blur=5.0), coordinates(size), 100)
    assert rows(found.boxes, found.labels) == rows(boxes, labels)


def test_a_piece_is_no_result_where_no_view_finds_the_whole() -> None:
    boxes, labels, size = np.array([[20.0, 100, 300, 180]]), np.array([0]), ImageSize(height=400, width=400)
    see = perfect(boxes, labels)

    def only_in_tiles(images: Sequence[Tensor]) -> list[Detections]:
        return [see([image])[0] if image.shape[2] == 100 else see([image])[0].above(2.0) for image in images]

    assert len(predict_tiled(only_in_tiles, coordinates(size), 100)) == 0


SIZE = ImageSize(height=100, width=100)
WHOLE = View(0, 0, 100, 100)


def result(*looks: list[tuple[float, int, float]], view: View = WHOLE) -> list[tuple[float, str, float]]:
    """What comes of looks at the same place: lists of (left, label, score) of boxes of 40 by 40 pixels."""
    gathered = Gathered(SIZE)
    for look in looks:
        boxes = np.array([[left, 10, left + 40, 50] for left, _, _ in look], float).reshape(-1, 4)
        labels, scores = np.array([one[1] for one in look], int), np.array([one[2] for one in look], float)
        gathered.add(view, as_detections(boxes, labels, scores, SIZE))
    found = gathered.result()
    lefts, scores = found.boxes[:, 0].tolist(), found.scores.round(3).tolist()
    return [(left, name, round(score, 3)) for left, name, score in zip(lefts, found.names, scores, strict=True)]


def test_objects_that_hide_each_other_stay_where_views_agree() -> None:
    two = [(10.0, 0, 0.9), (13.0, 0, 0.8)]
    assert result(two, two) == [(10.0, "cat", 0.9), (13.0, "cat", 0.8)]


@pytest.mark.parametrize("looks", [((2, 1)), ((1, 2)), ((2, 1, 2)), ((1, 2, 2))])
def test_a_double_that_another_view_does_not_have_goes(looks: tuple[int, ...]) -> None:
    seen = {1: [(11.0, 0, 0.95)], 2: [(10.0, 0, 0.9), (13.0, 0, 0.8)]}
    assert result(*(seen[look] for look in looks)) == [(11.0, "cat", 0.95)]


def test_the_better_score_wins_also_on_the_class() -> None:
    assert result([(10.0, 0, 0.5)], [(11.0, 1, 0.7)], [(12.0, 0, 0.6)]) == [(11.0, "dog", 0.7)]


def test_a_pair_of_classes_on_one_object_stays_where_views_agree() -> None:
    both = [(10.0, 0, 0.9), (10.0, 1, 0.8)]
    assert result(both, [(10.0, 1, 0.7), (10.0, 0, 0.6)]) == [(10.0, "cat", 0.9), (10.0, "dog", 0.8)]


def test_what_a_finer_view_would_show_whole_is_left_to_it() -> None:
    assert result([(10.0, 0, 0.9)], view=WHOLE._replace(least=41.0)) == []
    assert result([(10.0, 0, 0.9)], view=WHOLE._replace(least=40.0)) == [(10.0, "cat", 0.9)]


def test_progress_ends_with_all_views() -> None:
    heard: list[tuple[int, int]] = []
    empty = perfect(np.zeros((0, 4)), np.zeros(0, np.int64))
    size = ImageSize(height=100, width=300)
    found = predict_tiled(empty, coordinates(size), 64, batch=4, progress=lambda done, all_: heard.append((done, all_)))
    assert len(found) == 0
    assert heard[-1] == (len(views(size, 64)),) * 2


def test_an_image_no_larger_than_a_tile_is_seen_as_without(
    model: SmcaForObjectDetection, pictures: list[np.ndarray]
) -> None:
    plain, tiled = (predict_with(model, pictures[:1], threshold=0, tile=tile)[0] for tile in (False, 64))
    assert np.array_equal(plain.boxes, tiled.boxes)
    assert np.array_equal(plain.scores, tiled.scores)


def test_a_model_finds_more_in_tiles_and_stays_inside_the_image(model: SmcaForObjectDetection) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (150, 170, 3), dtype=np.uint8)
    plain, tiled = (model.predict([picture], threshold=0, tile=tile)[0] for tile in (False, True))
    assert len(tiled) > len(plain)
    assert tiled.size == plain.size
    assert (tiled.boxes >= 0).all()
    assert (tiled.boxes <= [170, 150, 170, 150]).all()


def test_the_side_of_a_tile(model: SmcaForObjectDetection) -> None:
    processor = processor_of(model)
    assert tile_side(True, processor) == 64
    assert tile_side(200, processor) == 200
    with pytest.raises(ConfigurationError, match="tiles of 31 pixels; allowed: 32 or more"):
        tile_side(31, processor)
