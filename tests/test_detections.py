from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smca.detections import Detections
from smca.sizes import ImageSize


def detections(scores: list[float]) -> Detections:
    n = len(scores)
    boxes = np.arange(4 * n, dtype=np.float32).reshape(n, 4)
    names = tuple(f"class {i}" for i in range(n))
    return Detections(boxes, np.array(scores, np.float32), np.arange(n), names, ImageSize(height=30, width=40))


@given(
    st.lists(st.floats(0, 1, width=32), max_size=8).map(lambda s: sorted(s, reverse=True)),
    st.floats(0, 1, width=32),
)
def test_above_keeps_all_that_reach_the_threshold_in_order(scores: list[float], threshold: float) -> None:
    kept = detections(scores).above(threshold)
    assert kept.scores.tolist() == [score for score in scores if score >= threshold]
    assert kept.names == tuple(f"class {i}" for i in range(len(kept)))
    assert kept.boxes.shape == (len(kept), 4)


def test_json_holds_builtin_types_only() -> None:
    found = detections([0.75, 0.5])
    expected = [
        {"label": "class 0", "score": 0.75, "box": [0.0, 1.0, 2.0, 3.0]},
        {"label": "class 1", "score": 0.5, "box": [4.0, 5.0, 6.0, 7.0]},
    ]
    assert json.loads(json.dumps(found.to_json())) == expected
    assert detections([]).to_json() == []


def test_supervision_sees_the_same() -> None:
    found = detections([0.75, 0.5]).to_supervision()
    np.testing.assert_array_equal(found.xyxy, [[0, 1, 2, 3], [4, 5, 6, 7]])
    np.testing.assert_array_equal(found.confidence, [0.75, 0.5])
    np.testing.assert_array_equal(found.class_id, [0, 1])
    assert list(found.data["class_name"]) == ["class 0", "class 1"]
    assert len(detections([]).to_supervision()) == 0


def test_tracks_go_along() -> None:
    found = replace(detections([0.75, 0.5, 0.25]), tracks=np.array([4, -1, 2]))
    assert [one["track"] for one in json.loads(json.dumps(found.to_json()))] == [4, None, 2]
    kept = found.take(np.array([2, 0]))
    assert kept.tracks is not None
    assert kept.tracks.tolist() == [2, 4]
    tracker_id = found.to_supervision().tracker_id
    assert tracker_id is not None
    assert tracker_id.tolist() == [4, -1, 2]
    with pytest.raises(ValueError, match="3 names need tracks"):
        replace(found, tracks=np.array([1]))


def test_fields_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="2 names need boxes"):
        Detections(np.zeros((1, 4)), np.zeros(2), np.zeros(2), ("a", "b"), ImageSize(3, 4))


def test_draw_leaves_the_image_as_it_was() -> None:
    image = np.full((30, 40, 3), 128, np.uint8)
    drawn = detections([0.9, 0.8]).draw(image)
    assert drawn.size == (40, 30)
    assert (image == 128).all()
    assert (np.asarray(drawn) != 128).any()
