"""Which detections are one object, over the frames of a video."""

from __future__ import annotations

import sys
from fractions import Fraction

import numpy as np
import pytest

from smca.detections import Detections
from smca.errors import ConfigurationError
from smca.inference.tracking import Tracker, tracker_class
from smca.inference.video import Moment
from smca.sizes import ImageSize

SIZE = ImageSize(height=100, width=200)


def seen(*objects: tuple[float, float, float]) -> Detections:
    """Boxes of 20 by 20 pixels, given as (x, y, score)."""
    boxes = np.array([[x, y, x + 20, y + 20] for x, y, _ in objects], np.float32).reshape(-1, 4)
    scores = np.array([score for _, _, score in objects], np.float32)
    return Detections(boxes, scores, np.zeros(len(objects), np.int64), ("cat",) * len(objects), SIZE)


def moment(index: int) -> Moment:
    return Moment(index, index / 10, Fraction(10))


def test_without_the_package_the_way_to_install_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'smca-detr\[track\]'"):
        tracker_class()


def test_an_object_keeps_its_number_and_a_new_video_begins_anew() -> None:
    pytest.importorskip("trackers")
    tracker = Tracker(0.4)
    for _ in range(2):
        numbers = []
        for i in range(6):
            found = tracker(seen((3 * i, 10, 0.9), (150 - 3 * i, 60, 0.5)), moment(i))
            assert found.tracks is not None
            numbers.append(dict(zip(found.boxes[:, 1].tolist(), found.tracks.tolist(), strict=True)))
        assert numbers[0] == {10: -1, 60: -1}
        assert set(numbers[1].values()) == {0, 1}
        assert all(each == numbers[1] for each in numbers[2:])


def test_a_weak_sight_keeps_the_track_and_is_not_shown() -> None:
    pytest.importorskip("trackers")
    tracker = Tracker(0.4)
    scores = (0.9, 0.9, 0.25, 0.25, 0.9)
    found = [tracker(seen((2 * i, 10, score)), moment(i)) for i, score in enumerate(scores)]
    assert [len(each) for each in found] == [1, 1, 0, 0, 1]
    assert found[1].tracks is not None
    assert found[4].tracks is not None
    assert found[4].tracks.tolist() == found[1].tracks.tolist() == [0]


def test_frames_without_objects_and_images_pass() -> None:
    pytest.importorskip("trackers")
    tracker = Tracker(0.4)
    assert len(tracker(seen(), moment(0))) == 0
    assert len(tracker(seen((5, 5, 0.9)), moment(1))) == 1
    assert len(tracker(seen(), moment(2))) == 0
    image = tracker(seen((5, 5, 0.9), (50, 5, 0.3)), None)
    assert image.tracks is None
    assert len(image) == 1
