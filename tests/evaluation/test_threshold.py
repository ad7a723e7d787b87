"""The threshold of best F1."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smca.evaluation.threshold import best_f1_threshold


@pytest.mark.parametrize(
    ("scores", "hit", "boxes", "expected"),
    [
        ([0.9, 0.8, 0.3], [True, True, False], 2, 0.55),
        ([0.9, 0.2], [True, True], 2, 0.1),
        ([0.9, 0.9, 0.5], [True, False, False], 1, 0.7),
        ([0.3, 0.9, 0.8], [False, True, True], 2, 0.55),
    ],
    ids=["cut", "keep all", "tie", "unsorted"],
)
def test_known_cases(scores: list[float], hit: list[bool], boxes: int, expected: float) -> None:
    assert best_f1_threshold(np.array(scores), np.array(hit), boxes) == pytest.approx(expected)


@pytest.mark.parametrize("count", [0, 3])
def test_nothing_found_has_no_threshold(count: int) -> None:
    assert best_f1_threshold(np.ones(count), np.zeros(count, bool), 4) is None


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=30), st.integers(0, 10))
def test_no_other_threshold_is_better(detections: list[tuple[int, bool]], missed: int) -> None:
    scores = np.array([score / 20 for score, _ in detections])
    hit = np.array([found for _, found in detections])
    boxes = int(hit.sum()) + missed
    threshold = best_f1_threshold(scores, hit, boxes)
    if threshold is None:
        assert not hit.any()
        return
    quality = [2 * hit[scores >= t].sum() / ((scores >= t).sum() + boxes) for t in (threshold, *scores)]
    assert quality[0] == pytest.approx(max(quality))
    assert 0 <= threshold <= 1
