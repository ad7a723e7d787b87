"""The criterion again, slowly: scalar loops from the formulas, one image, query and class at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

Box = Sequence[float]
ALPHA, GAMMA, NO_OBJECT = 0.25, 2.0, 0.1
CLASS, L1, GIOU = 2.0, 5.0, 2.0


def corners(box: Box) -> Box:
    cx, cy, w, h = box
    return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]


def giou(a: Box, b: Box) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return width * height / union - (hull - union) / hull


def distance(a: Box, b: Box) -> float:
    return sum(abs(p - q) for p, q in zip(a, b, strict=True))


def softmax(logits: Sequence[float]) -> list[float]:
    total = sum(math.exp(x) for x in logits)
    return [math.exp(x) / total for x in logits]


def focal(logit: float, positive: bool) -> float:
    p = 1 / (1 + math.exp(-logit))
    if positive:
        return -ALPHA * (1 - p) ** GAMMA * math.log(p)
    return -(1 - ALPHA) * p**GAMMA * math.log(1 - p)


def class_cost(kind: str, logits: Sequence[float], label: int) -> float:
    if kind == "softmax":
        return -softmax(logits)[label]
    return focal(logits[label], True) - focal(logits[label], False)


def costs(kind: str, logits: np.ndarray, boxes: np.ndarray, labels: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """[n, N] of one image."""
    table = np.zeros((len(labels), len(boxes)))
    for p, label in enumerate(labels):
        for q, box in enumerate(boxes):
            overlap = giou(corners(box), corners(wanted[p]))
            table[p, q] = CLASS * class_cost(kind, logits[q], label) + L1 * distance(box, wanted[p]) - GIOU * overlap
    return table


def image_loss(
    kind: str, logits: np.ndarray, boxes: np.ndarray, labels: np.ndarray, wanted: np.ndarray
) -> tuple[float, float, float, float]:
    """Sums of one image and layer: class loss, its weights, L1, 1 - GIoU."""
    query = linear_sum_assignment(costs(kind, logits, boxes, labels, wanted))[1]
    label_of = dict(zip(query.tolist(), labels.tolist(), strict=True))
    score: Callable[[np.ndarray, int | None], tuple[float, float]] = (
        _softmax_query if kind == "softmax" else _focal_query
    )
    scored = [score(logits[q], label_of.get(q)) for q in range(len(boxes))]
    far = sum(distance(boxes[q], wanted[p]) for p, q in enumerate(query))
    apart = sum(1 - giou(corners(boxes[q]), corners(wanted[p])) for p, q in enumerate(query))
    return sum(loss for loss, _ in scored), sum(weight for _, weight in scored), far, apart


def _focal_query(logits: np.ndarray, label: int | None) -> tuple[float, float]:
    return sum(focal(float(x), k == label) for k, x in enumerate(logits)), 0.0


def _softmax_query(logits: np.ndarray, label: int | None) -> tuple[float, float]:
    weight = NO_OBJECT if label is None else 1.0
    wanted = len(logits) - 1 if label is None else label
    return -weight * math.log(softmax(logits.tolist())[wanted]), weight


def loss(kind: str, logits: np.ndarray, boxes: np.ndarray, targets: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """The whole loss of logits [L, B, N, outputs] and boxes [L, B, N, 4] on one process."""
    count = max(1, sum(len(labels) for labels, _ in targets))
    total = 0.0
    for layer in range(len(logits)):
        sums = np.zeros(4)
        for image, (labels, wanted) in enumerate(targets):
            sums += image_loss(kind, logits[layer, image], boxes[layer, image], labels, wanted)
        by = sums[1] if kind == "softmax" else count
        total += CLASS * sums[0] / by + L1 * sums[2] / count + GIOU * sums[3] / count
    return total
