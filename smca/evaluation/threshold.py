"""The score threshold that balances found boxes and false alarms best.

F1(t) = 2 hits / (detections + boxes), counted over the detections whose score is at least t.
"""

from __future__ import annotations

import numpy as np


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
