"""Large images in overlapping tiles, put together so that every object comes out once, with its whole box.

An image is seen in views, coarse to fine: as a whole, then in tiles of 4 S, 2 S and S pixels a side (as many doublings
as fit), each prepared for the model like any image. Neighbours of one size share `OVERLAP` of their side, so an object
up to that long, less two margins, is uncut in one of them, and a longer one in the next coarser views, where it is
still at least an eighth of a side: no object depends on luck with the seams.

Each view's detections are assigned one to one to those gathered before (same class, highest sum of overlaps), by what
both views can show of them: a box that a seam cuts is compared with the part of the other on its side. So a piece is
recognised as one, and of two views of an object the one that shows it whole stays, else the better scored. A box that
ends at a seam is never a result of its own. Two detections of one view are never merged: the model needs no NMS.

What is held in memory are the image, one batch of views and the detections. Each view adds at most what the model's
processor keeps (as many as there are queries and at least 100); there is no other limit. Raises ConfigurationError for
tiles below `SMALLEST` pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from smca.detections import Detections
from smca.errors import ConfigurationError
from smca.sizes import ImageSize

OVERLAP = 1 / 4
MARGIN = 1 / 50
SMALLEST = 32
SAME = 0.5


class View(NamedTuple):
    """A part of an image in pixels, right and bottom excluded; boxes that end within `margin` of a seam are cut."""

    left: int
    top: int
    right: int
    bottom: int
    margin: float = 0.0


def predict_tiled(
    predict: Callable[[Sequence[Tensor]], list[Detections]],
    image: Tensor,
    tile: int,
    batch: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Detections:
    """Return the detections of `predict` in all views of `image` [3, height, width]; `batch` views go at once."""
    size = ImageSize(height=image.shape[1], width=image.shape[2])
    looks = views(size, tile)
    gathered = Gathered(size)
    done = 0
    for some in _batches(looks, batch):
        found = predict([image[:, view.top : view.bottom, view.left : view.right] for view in some])
        for view, detections in zip(some, found, strict=True):
            gathered.add(view, detections)
        done += len(some)
        if progress:
            progress(done, len(looks))
    return gathered.result()


def tile_side(tile: int | bool, processor: Any) -> int:
    """Return the side S of the finest tiles: `tile`, or what the processor's size leaves as it is for True."""
    own = processor.size
    side = (own["shortest_edge"] or own["height"]) if tile is True else int(tile)
    if side < SMALLEST:
        raise ConfigurationError(f"tiles of {side} pixels; allowed: {SMALLEST} or more")
    return side


def views(size: ImageSize, tile: int) -> list[View]:
    """Return the views of an image of that size, coarse to fine."""
    longest = max(size)
    sides = [tile] if tile < longest else []
    while sides and 3 * sides[-1] < longest:
        sides.append(2 * sides[-1])
    found = [View(0, 0, size.width, size.height)]
    for side in reversed(sides):
        across, down = _starts(size.width, side), _starts(size.height, side)
        ends = [(x, y, min(x + side, size.width), min(y + side, size.height)) for y in down for x in across]
        found += [View(*end, margin=MARGIN * side) for end in ends]
    return found


def _starts(length: int, side: int) -> list[int]:
    """Where the tiles along one axis begin, evenly."""
    if length <= side:
        return [0]
    steps = -(-(length - side) // (side - round(OVERLAP * side)))
    return [step * (length - side) // steps for step in range(steps + 1)]


def _batches(looks: Sequence[View], batch: int) -> Iterator[list[View]]:
    """Views of one size together, so that nothing is padded."""
    for _, group in groupby(looks, lambda view: (view.right - view.left, view.bottom - view.top)):
        alike = list(group)
        yield from (alike[start : start + batch] for start in range(0, len(alike), batch))


class Gathered:
    """The detections of the views so far, in pixels of the image, each object once."""

    def __init__(self, size: ImageSize) -> None:
        self.size = size
        self._boxes = np.zeros((0, 4), np.float32)
        self._scores = np.zeros(0, np.float32)
        self._labels = np.zeros(0, np.int64)
        self._views = np.zeros((0, 4), np.float32)
        self._names: dict[int, str] = {}

    def add(self, view: View, found: Detections) -> None:
        """Take in what was found in a view, in pixels of the view."""
        self._names.update(zip(found.labels.tolist(), found.names, strict=True))
        edges = np.array(view[:4], np.float32)
        boxes = found.boxes + edges[[0, 1, 0, 1]]
        cut = self._cut(view, boxes)
        old, new = self._same(edges, boxes, found.labels)
        piece = cut[new] | (_beyond(self._boxes[old], edges) & ~_beyond(boxes[new], self._views[old]))
        was_piece = _beyond(boxes[new], self._views[old]) & ~_beyond(self._boxes[old], edges)
        better = ~piece & (was_piece | (found.scores[new] > self._scores[old]))
        self._put(old[better], boxes[new[better]], found, new[better], edges)
        others = np.setdiff1d(np.flatnonzero(~cut), new)
        self._put(len(self._scores) + np.arange(len(others)), boxes[others], found, others, edges)

    def result(self) -> Detections:
        """Return all, best first."""
        order = np.argsort(-self._scores, kind="stable")
        labels = self._labels[order]
        names = tuple(self._names[label] for label in labels.tolist())
        return Detections(self._boxes[order], self._scores[order], labels, names, self.size)

    def _cut(self, view: View, boxes: np.ndarray) -> np.ndarray:
        """Which boxes end at a border of the view that is none of the image."""
        image = (0, 0, self.size.width, self.size.height)
        seams = [edge != end for edge, end in zip(view, image, strict=False)]
        return np.any((np.abs(boxes - np.array(view[:4])) <= view.margin) & seams, axis=1)

    def _same(self, edges: np.ndarray, boxes: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (gathered, new) that are one object."""
        near = np.flatnonzero(_areas(_clipped(self._boxes, edges)) > 0)
        seen = _clipped(self._boxes[near], edges)[:, None]
        shown = _clipped(boxes[None], self._views[near][:, None])
        overlaps = _overlaps(seen, shown) * (self._labels[near][:, None] == labels)
        overlaps[overlaps < SAME] = 0
        rows, columns = linear_sum_assignment(overlaps, maximize=True)
        real = overlaps[rows, columns] > 0
        return near[rows[real]], columns[real]

    def _put(
        self, places: np.ndarray, boxes: np.ndarray, found: Detections, chosen: np.ndarray, edges: np.ndarray
    ) -> None:
        more = max(0, int(places.max(initial=-1)) + 1 - len(self._scores))
        seen = np.broadcast_to(edges, (len(chosen), 4))
        self._boxes = _with(self._boxes, more, places, boxes)
        self._scores = _with(self._scores, more, places, found.scores[chosen])
        self._labels = _with(self._labels, more, places, found.labels[chosen])
        self._views = _with(self._views, more, places, seen)


def _with(values: np.ndarray, more: int, places: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """`values` with `more` rows behind and `fresh` at `places`."""
    longer = np.concatenate([values, np.zeros((more, *values.shape[1:]), values.dtype)])
    longer[places] = fresh
    return longer


def _clipped(boxes: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The part of each box inside the edges (x1, y1, x2, y2); nothing inside leaves an area of zero."""
    low, high = edges[..., [0, 1, 0, 1]], edges[..., [2, 3, 2, 3]]
    return np.minimum(np.maximum(boxes, low), high)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes that broadcast, zero where either is empty."""
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    common = (high - low).clip(min=0).prod(axis=-1)
    return common / np.maximum(_areas(a) + _areas(b) - common, 1e-9)


def _beyond(boxes: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Which boxes reach over the edges."""
    return np.any(boxes[:, :2] < edges[..., :2], axis=1) | np.any(boxes[:, 2:] > edges[..., 2:], axis=1)
