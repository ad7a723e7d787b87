"""The score threshold that balances found boxes and false alarms best.

F1(t) = 2 hits / (detections + boxes), counted over the detections whose score is at least t.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class WorkingPoint(NamedTuple):
    """What a threshold leads to, in [0, 1]; None where undefined: nothing shown, nothing to find, or neither."""

    threshold: float
    precision: float | None
    recall: float | None
    f1: float | None


def at_threshold(scores: np.ndarray, hit: np.ndarray, boxes: int, threshold: float) -> WorkingPoint:
    """Precision, recall and F1 of the detections with a score of at least `threshold`; the rest as below."""
    shown = scores >= threshold
    hits, count = int(hit[shown].sum()), int(shown.sum())
    return WorkingPoint(
        float(threshold),
        hits / count if count else None,
        hits / boxes if boxes else None,
        2 * hits / (count + boxes) if count + boxes else None,
    )


def best_f1_threshold(scores: np.ndarray, hit: np.ndarray, boxes: int) -> float | None:
    """Return the threshold in [0, 1] of best F1, or None when no detection hits.

    scores [n] and hit [n] (bool, the detection found a box), in any order; boxes: how many there are to find.
    The threshold lies halfway to the next lower score, so that noise in the last digit changes nothing.
    Of equal F1 the highest threshold is taken.
    """
    if not hit.any():
        return None
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], hit[order].cumsum()
    f1 = 2 * hits / (np.arange(1, len(scores) + 1) + boxes)
    next_lower = np.append(scores[1:], 0.0)
    f1[:-1][scores[1:] == scores[:-1]] = -1
    best = int(f1.argmax())
    return float((scores[best] + next_lower[best]) / 2)
