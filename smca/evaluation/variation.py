"""How much predictions depend on the image: near zero when a detector finds the same things whatever it is shown.

For each image and the one after it: how far, in the mean, the image's BEST detections are from the nearest detection of
the same class in the other, the distance being the largest difference of a relative coordinate plus that of the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

BEST = 10
ALARM = 0.02  # trained detectors have .17 to .5, one that does not look at its images about 0 (docs/results/log.md)
ADVICE = (
    "predictions hardly depend on the image: try a lower learning rate (--lr), more epochs, or a model to begin with "
    "(--init); whether the pictures can be learned at all says `smca data check DATA --overfit 8`"
)


def variation(found: Sequence[np.ndarray]) -> float | None:
    """The mean over images, of detections [n, 6] each, best first: relative x1, y1, x2, y2, the score, the label.

    None for fewer than two images with detections.
    """
    some = [rows for rows in found if len(rows)]
    distances = [_distance(one[:BEST], other) for one, other in pairwise(some)]
    return float(np.mean(distances)) if distances else None


def is_blind(value: float | None) -> bool:
    """Whether a variation means that predictions do not depend on the image."""
    return value is not None and value < ALARM


def _distance(rows: np.ndarray, others: np.ndarray) -> float:
    apart = np.abs(rows[:, None] - others[None])
    boxes, scores, labels = apart[..., :4].max(-1), apart[..., 4], apart[..., 5] > 0
    return float(np.minimum(boxes + scores + labels, 1.0).min(1).mean())
