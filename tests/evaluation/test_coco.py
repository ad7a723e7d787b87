"""The streaming evaluator against pycocotools, crowd included, and its behaviour at the edges."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from smca.data.reading import read_split
from smca.data.records import Split
from smca.evaluation.coco import CocoEvaluator, Summary
from tests.evaluation.splits import (
    METRICS,
    Found,
    pycocotools_evaluation,
    pycocotools_summary,
    random_boxes,
    random_detections,
    random_split,
    record,
)


def summarised(split: Split, found: list[Found]) -> Summary:
    evaluator = CocoEvaluator(split)
    for index, detections in enumerate(found):
        evaluator.add(index, *detections)
    return evaluator.summary()


def numbers(summary: Summary) -> dict[str, float | None]:
    return {name: summary[name] for name in METRICS}


@given(st.integers(1, 12), st.integers(0, 9999), st.floats(0, 0.3))
@settings(max_examples=25, deadline=None)
def test_equals_pycocotools(images: int, seed: int, noise: float) -> None:
    split = random_split(images, seed)
    found = random_detections(split, seed + 1, noise)
    assume(any(len(boxes) for boxes, _, _ in found))
    assert numbers(summarised(split, found)) == pytest.approx(pycocotools_summary(split, found), abs=1e-9)


def test_equals_pycocotools_on_real_annotations(shared: Path) -> None:
    split = read_split(shared / "data" / "coco200", "val")
    assert any(record.crowd.any() for record in split.records)
    found = random_detections(split, 0)
    assert numbers(summarised(split, found)) == pytest.approx(pycocotools_summary(split, found), abs=1e-9)


def test_per_class_equals_pycocotools() -> None:
    split = random_split(20, 3)
    found = random_detections(split, 4)
    precision = pycocotools_evaluation(split, found).eval["precision"][:, :, :, 0, -1]
    expected = [precision[:, :, k].mean() for k in range(3)]
    per_class = summarised(split, found)["per_class"]
    assert list(per_class.values()) == [*(pytest.approx(value, abs=1e-9) for value in expected), None]
    assert tuple(per_class) == split.class_names


def test_classes_of_one_name_stay_apart() -> None:
    split = random_split(10, 3, names=("cell", "cell ", "0", "1", "none"))
    assert len(summarised(split, random_detections(split, 4))["per_class"]) == 5


def test_best_threshold_is_best_by_pycocotools_matches() -> None:
    split = random_split(30, 5)
    found = random_detections(split, 6)
    threshold = summarised(split, found)["best_threshold"]
    assert threshold is not None
    scores, hit, boxes = matches_at_half(split, found)
    candidates = [f1(t, scores, hit, boxes) for t in np.append(scores, 0.0)]
    assert f1(threshold, scores, hit, boxes) == pytest.approx(max(candidates))


def matches_at_half(split: Split, found: list[Found]) -> tuple[np.ndarray, np.ndarray, int]:
    """Scores and hits of the detections that count at IoU 0.5, and how many boxes there are."""
    images = [e for e in pycocotools_evaluation(split, found).evalImgs if e and e["aRng"][1] == 1e10]
    scores = np.concatenate([e["dtScores"] for e in images])
    counts = ~np.concatenate([e["dtIgnore"][0] for e in images]).astype(bool)
    hit = np.concatenate([e["dtMatches"][0] for e in images]) > 0
    return scores[counts], hit[counts], sum(int((1 - np.asarray(e["gtIgnore"])).sum()) for e in images)


def f1(threshold: float, scores: np.ndarray, hit: np.ndarray, boxes: int) -> float:
    kept = scores >= threshold
    return float(2 * hit[kept].sum() / (kept.sum() + boxes))


def test_keeps_the_hundred_best_of_an_image() -> None:
    rng = np.random.default_rng(0)
    boxes = random_boxes(150, rng)
    nothing = np.zeros(0)
    split = Split("val", (record(0, boxes[:1], np.zeros(1, int), np.zeros(1, bool), np.ones(1)),), ("cat",), (1,))
    scores = np.linspace(0, 1, 150)
    assert summarised(split, [(boxes, scores, np.zeros(150, int))])["AR100"] == 0.0
    assert summarised(split, [(boxes, 1 - scores, np.zeros(150, int))])["AR100"] == 1.0
    assert summarised(split, [(nothing.reshape(0, 4), nothing, nothing)])["AP"] == 0.0


def test_images_without_detections_count() -> None:
    split = random_split(10, 0)
    found = [(r.boxes, np.ones(len(r.boxes)), r.labels) for r in split.records]
    assert summarised(split, found)["AP"] == pytest.approx(1)
    recall = summarised(split, found[:5])["AR100"]
    assert recall is not None
    assert recall < 1


def test_adding_an_image_again_replaces_it() -> None:
    split = random_split(6, 1)
    found = random_detections(split, 2)
    evaluator = CocoEvaluator(split)
    for index in (0, *range(6)):
        evaluator.add(index, *found[index])
    assert evaluator.summary() == summarised(split, found)


def test_ranges_without_boxes_are_none_and_json_can_say_so() -> None:
    box = np.array([[0, 0, 10, 10]], np.float32)
    split = Split("val", (record(0, box, np.zeros(1, int), np.zeros(1, bool), np.full(1, 100.0)),), ("a", "b"), (1, 2))
    summary = summarised(split, [(box, np.ones(1), np.zeros(1, int))])
    assert summary["APs"] == pytest.approx(1)
    assert summary["APm"] is summary["ARl"] is summary["per_class"]["b"] is None
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_split_without_boxes() -> None:
    split = random_split(3, 0)
    empty = np.zeros(0)
    bare = Split(
        "val",
        tuple(record(i, empty.reshape(0, 4), empty.astype(int), empty.astype(bool), empty) for i in range(3)),
        split.class_names,
        split.category_ids,
    )
    summary = summarised(bare, random_detections(split, 1))
    assert all(summary[name] is None for name in METRICS)
    assert summary["best_threshold"] is None
