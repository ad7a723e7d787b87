"""How far the detections of an exported file are from those of its model, on the same images.

Compared are a model's detections above its threshold, and of each image at least its ten best, each with the one of the
file that it is nearest to: the assignment of least total distance among those of its class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from smca.detections import Detections

LEAST = 10
PIXELS_A_SCORE = 1000.0  # what a whole point of score weighs in pixels, to tell boxes of one place apart
FORBIDDEN = 1e9


@dataclass(frozen=True)
class Agreement:
    """Boxes in pixels of the original images, scores in [0, 1]; None where nothing was compared.

    unmatched: detections of the model for which the file has none of their class.
    """

    images: int
    compared: int
    unmatched: int
    largest_box_difference: float | None
    mean_box_difference: float | None
    largest_score_difference: float | None
    mean_score_difference: float | None


def agreement(before: Sequence[Detections], after: Sequence[Detections], threshold: float) -> Agreement:
    """Compare image by image; `before` and `after` hold all that was found, whatever the score."""
    pairs = [_differences(_compared(b, threshold), a) for b, a in zip(before, after, strict=True)]
    boxes, scores = (np.concatenate([np.zeros(0), *parts]) for parts in zip(*pairs, strict=True))
    count = sum(len(_compared(one, threshold)) for one in before)
    known = len(boxes) > 0
    return Agreement(
        images=len(before),
        compared=count,
        unmatched=count - len(boxes),
        largest_box_difference=float(boxes.max()) if known else None,
        mean_box_difference=float(boxes.mean()) if known else None,
        largest_score_difference=float(scores.max()) if known else None,
        mean_score_difference=float(scores.mean()) if known else None,
    )


def _compared(found: Detections, threshold: float) -> Detections:
    return found.take(np.arange(max(int((found.scores >= threshold).sum()), min(LEAST, len(found)))))


def _differences(before: Detections, after: Detections) -> tuple[np.ndarray, np.ndarray]:
    """Of each matched pair the largest difference of a side, and that of the scores."""
    boxes = np.abs(before.boxes[:, None] - after.boxes[None]).max(axis=-1, initial=0.0).astype(np.float64)
    scores = np.abs(before.scores[:, None] - after.scores[None]).astype(np.float64)
    cost = boxes + PIXELS_A_SCORE * scores
    cost[before.labels[:, None] != after.labels[None]] = FORBIDDEN
    rows, columns = linear_sum_assignment(cost)
    allowed = cost[rows, columns] < FORBIDDEN
    chosen = rows[allowed], columns[allowed]
    return boxes[chosen], scores[chosen]
