from __future__ import annotations

import numpy as np

from smca.visualization.convergence import Curve, convergence


def test_every_system_is_drawn_in_both_panels() -> None:
    """Two systems, one with two seeds; adding a third changes the picture."""
    two = {
        "one": [Curve([1, 2, 3], [60, 120, 180], [0.1, 0.2, 0.3])],
        "other": [Curve([1, 2], [30, 60], [0.2, 0.4]), Curve([1, 2, 3], [30, 60, 90], [0.3, 0.5, 0.6])],
    }
    picture = convergence(two)
    assert picture.width > 2 * picture.height
    more = convergence({**two, "third": [Curve([1], [10], [0.5])]})
    assert picture.size != more.size or (np.asarray(picture) != np.asarray(more)).any()
    halves = np.array_split(np.asarray(picture.convert("RGB")).astype(int), 2, axis=1)
    assert all((half.max(axis=2) - half.min(axis=2) > 60).any() for half in halves)
