"""What lies behind the twelve numbers, against slow oracles, crowd included, and at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smca.data.records import Split
from smca.evaluation.coco import CocoEvaluator
from smca.evaluation.diagnosis import KINDS, RIGHT, Diagnosis, diagnose
from tests.evaluation import oracle
from tests.evaluation.splits import Found, random_boxes, random_detections, random_split, record

THRESHOLD = 0.35


def collected(split: Split, found: list[Found]) -> CocoEvaluator:
    evaluator = CocoEvaluator(split)
    for index, detections in enumerate(found):
        evaluator.add(index, *detections)
    return evaluator


def diagnosed(split: Split, found: list[Found], threshold: float = THRESHOLD) -> Diagnosis:
    return diagnose(collected(split, found), threshold)


def mixed(split: Split, seed: int, noise: float) -> list[Found]:
    """Detections of which a third has any label; no two scores of an image are equal."""
    rng = np.random.default_rng(seed)
    result = []
    for boxes, scores, labels in random_detections(split, seed, noise):
        other = np.where(rng.random(len(labels)) < 0.3, rng.integers(0, 3, len(labels)), labels)
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        result.append((boxes, scores + np.arange(len(scores), dtype=np.float32) * 1e-4, other))
    return result


cases = given(st.integers(1, 8), st.integers(0, 9999), st.floats(0, 0.3))
few = settings(max_examples=40, deadline=None)


@cases
@few
def test_confusion_is_counted_best_score_first(images: int, seed: int, noise: float) -> None:
    split = random_split(images, seed)
    found = mixed(split, seed, noise)
    assert (diagnosed(split, found).confusion == oracle.confusion(split, found, THRESHOLD)).all()


@cases
@few
def test_errors_are_of_the_kinds_the_page_defines(images: int, seed: int, noise: float) -> None:
    split = random_split(images, seed)
    found = mixed(split, seed, noise)
    counted = {kind: count for kind, (count, _) in diagnosed(split, found).errors.items()}
    expected = oracle.errors(split, found, THRESHOLD)
    assert counted == {kind: expected[kind] for kind in KINDS}


@cases
@few
def test_curves_agree_with_the_twelve_numbers(images: int, seed: int, noise: float) -> None:
    split = random_split(images, seed)
    evaluator = collected(split, mixed(split, seed, noise))
    summary, diagnosis = evaluator.summary(), diagnose(evaluator, THRESHOLD)
    with_objects = diagnosis.precision[[one.objects > 0 for one in diagnosis.classes]]
    assert not np.isnan(with_objects).any()
    if summary["AP50"] is None:
        assert not len(with_objects)
        return
    assert with_objects.mean() == pytest.approx(summary["AP50"], abs=1e-9)
    for one in diagnosis.classes:
        assert one.ap == pytest.approx(summary["per_class"][one.name], abs=1e-9)
    f1 = [point.f1 for point in diagnosis.curve]
    best = diagnose(evaluator, summary["best_threshold"]).here.f1 if summary["best_threshold"] is not None else 0.0
    assert best is not None
    assert max(value or 0.0 for value in f1) <= best + 1e-9


@cases
@few
def test_images_add_up_to_what_the_threshold_leads_to(images: int, seed: int, noise: float) -> None:
    split = random_split(images, seed)
    found = mixed(split, seed, noise)
    diagnosis = diagnosed(split, found)
    outcomes = diagnosis.outcomes
    hits, false, missed = (sum(getattr(o, name) for o in outcomes) for name in ("hits", "false_alarms", "missed"))
    here = diagnosis.here
    assert here.recall == (pytest.approx(hits / (hits + missed)) if hits + missed else None)
    assert here.precision == (pytest.approx(hits / (hits + false)) if hits + false else None)
    by_size = diagnosis.found_by_size.values()
    assert (sum(a for a, _ in by_size), sum(f for _, f in by_size)) == (hits + missed, hits)
    for outcome, one, image in zip(outcomes, found, split.records, strict=True):
        expected = oracle.hits(image, one, THRESHOLD)
        assert (outcome.hits, outcome.false_alarms) == (
            sum(target is not None for target in expected.values()),
            sum(target is None for target in expected.values()),
        )
        real = np.flatnonzero(~image.crowd)
        assert set(real[outcome.found].tolist()) == {target for target in expected.values() if target is not None}


def test_a_statement_on_a_detection_is_on_that_detection() -> None:
    split = random_split(8, 11)
    evaluator = collected(split, mixed(split, 11, 0.1))
    for outcome in diagnose(evaluator, THRESHOLD).outcomes:
        shown = evaluator.found(outcome.record, THRESHOLD)
        assert len(shown) == len(outcome.shown)
        boxes = split.records[outcome.record].boxes.astype(np.float64)
        for box, status in zip(shown.boxes, outcome.shown, strict=True):
            if status == RIGHT:
                assert max(oracle.iou(box.astype(np.float64), other) for other in boxes) >= 0.5 - 1e-6


def test_ranking_of_images() -> None:
    rng = np.random.default_rng(0)
    boxes = [random_boxes(count, rng) for count in (1, 2, 3, 0, 0)]
    records = [
        record(i, b, np.zeros(len(b), int), np.zeros(len(b), bool), np.ones(len(b))) for i, b in enumerate(boxes)
    ]
    split = Split("val", tuple(records), ("cat",), (1,))

    def found(b: np.ndarray) -> Found:
        return b, np.full(len(b), 0.9, np.float32), np.zeros(len(b), int)

    diagnosis = diagnosed(split, [found(b) for b in (boxes[0], boxes[1][:0], boxes[2], boxes[3], boxes[1])])
    assert [one.record for one in diagnosis.worst(9)] == [1, 4]
    assert [one.record for one in diagnosis.best(9)] == [2, 0]
    assert diagnosis.outcomes[3].f1 is None
    assert diagnosis.worst(1) == diagnosis.worst(9)[:1]


@pytest.mark.parametrize("crowd", [True, False])
@pytest.mark.parametrize("detections", [0, 3])
def test_nothing_to_find(crowd: bool, detections: int) -> None:
    rng = np.random.default_rng(0)
    there = random_boxes(int(crowd), rng)
    one = record(0, there, np.zeros(len(there), int), np.ones(len(there), bool), np.ones(len(there)))
    split = Split("val", (one,), ("cat", "dog"), (1, 2))
    boxes = random_boxes(detections, rng) + 400
    diagnosis = diagnosed(split, [(boxes, np.full(detections, 0.9), np.ones(detections, int))])
    assert diagnosis.here.recall is None
    assert diagnosis.here.precision == (0.0 if detections else None)
    assert [(c.ap, c.ap50, c.objects, c.best) for c in diagnosis.classes] == [(None, None, 0, None)] * 2
    assert diagnosis.confusion.sum() == diagnosis.confusion[2, 1] == detections
    assert diagnosis.errors["background"][0] == detections
    assert all(np.isfinite(cost) for _, cost in diagnosis.errors.values())
    assert np.isnan(diagnosis.precision).all()
