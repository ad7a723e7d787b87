"""Large images in overlapping tiles, put together so that every object comes out once, with its whole box.

An image is seen in views, coarse to fine: as a whole, then in tiles of 4 S, 2 S and S pixels a side (doubled until the
whole shows all that they may cut at `SEEN` of its side or more), each prepared for the model like any image. Neighbours
of one size share half of their side, so that an object nearly so long is uncut in one of them, and a longer one in the
views twice as coarse, where it is still a fifth of a side: no object depends on luck with the seams, and each is judged
where it is seen best, in the finest views that show it uncut for sure (`View.least`). What only a coarser view takes
for an object is none.

The detections of a view are assigned one to one to those gathered before (highest sum of overlaps, the same class
preferred), by what both views can show of them: a box that a seam cuts is compared with the part of the other on its
side. Of two views of an object the one that shows it whole stays, else the better scored. What overlaps an object
beyond that is one detection more than the other view has there, and goes; where views agree on two objects that hide
each other, both stay, as suits a model that needs no NMS. A box that ends at a seam is a piece, and never a result.

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

OVERLAP = 1 / 2
MARGIN = 1 / 50
SEEN = 1 / 5
SMALLEST = 32
SAME = 0.5
OTHER_CLASS = 0.5

PIECE, SMALL, WHOLE = range(3)  # cut by a seam; whole, but left to finer views; whole


class View(NamedTuple):
    """A part of an image in pixels, right and bottom excluded.

    margin: a box that ends so close to a seam is cut; least: boxes below that length are left to finer views.
    """

    left: int
    top: int
    right: int
    bottom: int
    margin: float = 0.0
    least: float = 0.0


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
    while sides and _uncut(sides[-1]) < SEEN * longest:
        sides.append(2 * sides[-1])
    leasts = [0.0, *map(_uncut, sides)]
    found = [View(0, 0, size.width, size.height, least=leasts.pop())]
    for side, least in zip(reversed(sides), reversed(leasts), strict=True):
        across, down = _starts(size.width, side), _starts(size.height, side)
        ends = [(x, y, min(x + side, size.width), min(y + side, size.height)) for y in down for x in across]
        found += [View(*end, margin=MARGIN * side, least=least) for end in ends]
    return found


def _shared(side: int) -> int:
    """Pixels that neighbours have in common, at least."""
    return round(OVERLAP * side)


def _uncut(side: int) -> float:
    """The length up to which an object is whole in one of two neighbours."""
    return _shared(side) - 2 * MARGIN * side


def _starts(length: int, side: int) -> list[int]:
    """Where the tiles along one axis begin, evenly."""
    if length <= side:
        return [0]
    steps = -(-(length - side) // (side - _shared(side)))
    return [step * (length - side) // steps for step in range(steps + 1)]


def _batches(looks: Sequence[View], batch: int) -> Iterator[list[View]]:
    """Views of one size together, so that nothing is padded."""
    for _, group in groupby(looks, lambda view: (view.right - view.left, view.bottom - view.top)):
        alike = list(group)
        yield from (alike[start : start + batch] for start in range(0, len(alike), batch))


class _Boxes(NamedTuple):
    """Detections in pixels of the image, the view each was found in, and what it is there: PIECE, SMALL or WHOLE."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    views: np.ndarray
    kinds: np.ndarray

    def take(self, indices: np.ndarray) -> _Boxes:
        return _Boxes(*(field[indices] for field in self))

    def join(self, others: _Boxes) -> _Boxes:
        return _Boxes(*(np.concatenate(fields) for fields in zip(self, others, strict=True)))


class Gathered:
    """What the views so far show, in pixels of the image."""

    def __init__(self, size: ImageSize) -> None:
        self.size = size
        self._names: dict[int, str] = {}
        boxes, none = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
        self._all = _Boxes(boxes, none.astype(np.float32), none, boxes, none)

    def add(self, view: View, found: Detections) -> None:
        """Take in what was found in a view, in pixels of the view."""
        self._names.update(zip(found.labels.tolist(), found.names, strict=True))
        edges = np.array(view[:4], np.float32)
        boxes = found.boxes + edges[[0, 1, 0, 1]]
        seen = np.tile(edges, (len(boxes), 1))
        fresh = _Boxes(boxes, found.scores, found.labels, seen, self._kinds(view, boxes))
        near = np.flatnonzero(_areas(_clipped(self._all.boxes, edges)) > 0)
        leaving, staying = _settled(self._all.take(near), fresh)
        others = np.setdiff1d(np.arange(len(self._all.scores)), near[leaving])
        self._all = self._all.take(others).join(fresh.take(staying))

    def result(self) -> Detections:
        """Return each object once, best first."""
        whole = self._all.take(np.flatnonzero(self._all.kinds == WHOLE))
        best = whole.take(np.argsort(-whole.scores, kind="stable"))
        names = tuple(self._names[label] for label in best.labels.tolist())
        return Detections(best.boxes, best.scores, best.labels, names, self.size)

    def _kinds(self, view: View, boxes: np.ndarray) -> np.ndarray:
        image = (0, 0, self.size.width, self.size.height)
        seams = [edge != end for edge, end in zip(view, image, strict=False)]
        cut = np.any((np.abs(boxes - np.array(view[:4])) <= view.margin) & seams, axis=1)
        long = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) >= view.least
        return np.where(cut, PIECE, np.where(long, WHOLE, SMALL))


def _settled(old: _Boxes, fresh: _Boxes) -> tuple[np.ndarray, np.ndarray]:
    """Which of the old leave and which of the fresh, all of one view, stay."""
    seen = _clipped(old.boxes[:, None], fresh.views[None])
    shown = _clipped(fresh.boxes[None], old.views[:, None])
    overlaps = _overlaps(seen, shown)
    same = overlaps >= SAME
    alike = np.where(old.labels[:, None] == fresh.labels, 1.0, OTHER_CLASS)
    rows, columns = linear_sum_assignment(np.where(same, overlaps * alike, 0), maximize=True)
    real = same[rows, columns]
    rows, columns = rows[real], columns[real]
    won = _shows_more(fresh.take(columns), old.take(rows))
    surplus = np.setdiff1d(np.flatnonzero(same.any(axis=1)), rows)
    alone = np.flatnonzero(~same.any(axis=0))
    return np.concatenate([rows[won], surplus]), np.concatenate([columns[won], alone])


def _shows_more(a: _Boxes, b: _Boxes) -> np.ndarray:
    """Of pairs that are one object, where `a` is the more of it, or else scores better."""
    over_a, over_b = _beyond(a.boxes, b.views), _beyond(b.boxes, a.views)
    kind_a = np.where(over_b & ~over_a, PIECE, a.kinds)
    kind_b = np.where(over_a & ~over_b, PIECE, b.kinds)
    return (kind_a > kind_b) | ((kind_a == kind_b) & (a.scores > b.scores))


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
