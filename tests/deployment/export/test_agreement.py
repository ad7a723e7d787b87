"""Which detection is compared with which."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smca.deployment.export.agreement import agreement
from smca.detections import Detections
from smca.sizes import ImageSize


def detections(count: int, seed: int = 0, labels: int = 2) -> Detections:
    rng = np.random.default_rng(seed)
    corner, side = rng.uniform(0, 80, (count, 2)), rng.uniform(5, 20, (count, 2))
    boxes = np.concatenate([corner, corner + side], axis=1).astype(np.float32)
    scores = np.sort(rng.uniform(0, 1, count).astype(np.float32))[::-1]
    kinds = rng.integers(0, labels, count)
    return Detections(boxes, scores.copy(), kinds, tuple(map(str, kinds)), ImageSize(100, 100))


@given(count=st.integers(0, 30), seed=st.integers(0, 99))
def test_the_order_does_not_matter(count: int, seed: int) -> None:
    found = detections(count, seed)
    shuffled = found.take(np.random.default_rng(seed).permutation(count))
    same = agreement([found], [shuffled], 0.5)
    assert same.unmatched == 0
    assert same.largest_box_difference in (None if count == 0 else 0.0, 0.0)


def test_differences_are_of_the_nearest_of_the_class() -> None:
    before = detections(12)
    after = Detections(before.boxes + 0.25, before.scores - 0.01, before.labels, before.names, before.size)
    found = agreement([before, before], [before, after], 0.0)
    assert (found.images, found.compared, found.unmatched) == (2, 24, 0)
    assert found.largest_box_difference == pytest.approx(0.25, abs=1e-5)
    assert found.mean_box_difference == pytest.approx(0.125, abs=1e-5)
    assert found.largest_score_difference == pytest.approx(0.01, abs=1e-6)


def test_what_is_missing_is_counted() -> None:
    before = detections(12)
    other = Detections(before.boxes, before.scores, 1 - before.labels, before.names, before.size)
    assert agreement([before], [before.take(np.arange(4))], 0.0).unmatched == 8
    ones = int((before.labels == 1).sum())
    assert agreement([before], [other], 0.0).unmatched == abs(12 - 2 * ones)
    nothing = agreement([before], [before.take(np.arange(0))], 0.0)
    assert (nothing.unmatched, nothing.largest_box_difference) == (12, None)


def test_the_best_ten_are_compared_however_low_the_threshold_says() -> None:
    before = detections(30)
    assert agreement([before], [before], 1.0).compared == 10
    assert agreement([before], [before], 0.0).compared == 30
