"""When training may end before its last epoch: no better AP for a number of epochs, `patience`, once there is one."""

from __future__ import annotations

from collections.abc import Sequence


def has_waited(scores: Sequence[float], patience: int) -> bool:
    """Whether the last `patience` epochs' scores are no better than the best before them, above zero; 0: never."""
    if not 0 < patience < len(scores):
        return False
    best = max(scores[:-patience])
    return best > 0 and max(scores[-patience:]) <= best
