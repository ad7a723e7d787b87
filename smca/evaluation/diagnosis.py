"""What lies behind the twelve numbers: by class, by size and by image, what is confused, and of which kind errors are.

All at IoU 0.5; "shown" are the detections whose score is at least the threshold. A detection that COCO sets aside
because it lies in a crowd region takes no part. hotcoco matches, counts and says what each kind of error costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from hotcoco import COCO, COCOeval

from smca.data.records import Split
from smca.evaluation.coco import F1_IOU, CocoEvaluator, ground_truth
from smca.evaluation.threshold import WorkingPoint, at_threshold, best_f1_threshold

RIGHT, WRONG, ASIDE = 1, 0, 2
BACKGROUND, BACKGROUND_IOU = "background", 0.1
SIZES = {"small": 32**2, "medium": 96**2, "large": 1e10}  # upper ends of the areas in pixels
ErrorKind = Literal["classification", "localisation", "both", "duplicate", "background", "missed"]
KINDS: dict[ErrorKind, str] = {
    "classification": "Cls",
    "localisation": "Loc",
    "both": "Both",
    "duplicate": "Dupe",
    "background": "Bkg",
    "missed": "Miss",
}  # and hotcoco's names of them


@dataclass(frozen=True)
class ClassNumbers:
    """A class: AP and AP50 in [0, 1] (None without objects), how many objects, and its own best F1."""

    name: str
    ap: float | None
    ap50: float | None
    objects: int
    best: WorkingPoint | None


@dataclass(frozen=True)
class Outcome:
    """An image: `shown` [n] says RIGHT, WRONG or ASIDE of each detection, `found` [m] of each object but crowds."""

    record: int
    shown: np.ndarray
    found: np.ndarray

    @property
    def hits(self) -> int:
        return int((self.shown == RIGHT).sum())

    @property
    def false_alarms(self) -> int:
        return int((self.shown == WRONG).sum())

    @property
    def missed(self) -> int:
        return int((~self.found).sum())

    @property
    def f1(self) -> float | None:
        """None where there is nothing and nothing was shown."""
        judged = 2 * self.hits + self.false_alarms + self.missed
        return 2 * self.hits / judged if judged else None


@dataclass(frozen=True)
class Diagnosis:
    """precision [K, 101]: by class over recall 0, 0.01, ... 1 as COCO interpolates it, NaN without objects.

    confusion [K + 1, K + 1]: rows what is there, columns what was shown, last background. `curve`: 101 thresholds from
    0 to 1; errors: how many are shown, and by how much AP50 would rise without this kind; found_by_size: how many
    objects there are, and how many of them were found.
    """

    threshold: float
    here: WorkingPoint
    curve: Sequence[WorkingPoint]
    classes: Sequence[ClassNumbers]
    precision: np.ndarray
    confusion: np.ndarray
    errors: dict[ErrorKind, tuple[int, float]]
    found_by_size: dict[str, tuple[int, int]]
    outcomes: Sequence[Outcome]

    def worst(self, most: int) -> list[Outcome]:
        """Images with an error, by F1 from the lowest, then by errors from the most."""
        wrong = [one for one in self.outcomes if one.missed + one.false_alarms]
        return sorted(wrong, key=lambda one: (one.f1, -one.missed - one.false_alarms, one.record))[:most]

    def best(self, most: int) -> list[Outcome]:
        """Images where something was found, by F1 from the highest, then by objects found from the most."""
        good = [one for one in self.outcomes if one.hits]
        return sorted(good, key=lambda one: (-(one.f1 or 0.0), -one.hits, one.record))[:most]


def diagnose(evaluator: CocoEvaluator, threshold: float) -> Diagnosis:
    """Look at what an evaluator collected, where a threshold decides what is shown."""
    rows, standard = evaluator.rows(), _standard(evaluator)
    statuses = _statuses(standard, len(rows))
    counts = statuses != ASIDE
    split, chosen, hit = _without_crowds(evaluator.split), rows[counts], statuses[counts] == RIGHT
    truth = ground_truth(split)
    shown = _matched(truth, chosen[chosen[:, 5] >= threshold])
    boxes = sum(len(record.boxes) for record in split.records)
    found = _found(shown, boxes)
    return Diagnosis(
        threshold=threshold,
        here=at_threshold(chosen[:, 5], hit, boxes, threshold),
        curve=[at_threshold(chosen[:, 5], hit, boxes, t) for t in np.linspace(0, 1, 101)],
        classes=_classes(split, standard, chosen, hit),
        precision=_precision(standard)[0],
        confusion=shown.confusion_matrix(iou_thr=F1_IOU)["matrix"].astype(np.int64),
        errors=_errors(_matched(truth, chosen), shown),
        found_by_size=_sizes(split, found),
        outcomes=_outcomes(split, rows, counts, shown, threshold, found),
    )


def _without_crowds(split: Split) -> Split:
    records = [
        replace(
            record,
            boxes=record.boxes[~record.crowd],
            labels=record.labels[~record.crowd],
            areas=record.areas[~record.crowd],
            crowd=record.crowd[~record.crowd],
        )
        for record in split.records
    ]
    return replace(split, records=records)


def _matched(truth: COCO, rows: np.ndarray) -> COCOeval:
    evaluation = COCOeval(truth, truth.load_res(rows), "bbox")
    evaluation.evaluate()
    return evaluation


def _standard(evaluator: CocoEvaluator) -> COCOeval:
    """The evaluation that the twelve numbers come from."""
    evaluation = _matched(ground_truth(evaluator.split), evaluator.rows())
    evaluation.accumulate()
    return evaluation


def _statuses(evaluation: COCOeval, count: int) -> np.ndarray:
    """RIGHT, WRONG or ASIDE of each detection [count]."""
    statuses = np.full(count, ASIDE, np.int8)
    for identity, status in evaluation.image_diagnostics(iou_thr=F1_IOU)["dt_status"].items():
        statuses[identity - 1] = RIGHT if status == "tp" else WRONG
    return statuses


def _found(evaluation: COCOeval, boxes: int) -> np.ndarray:
    """Which objects were found [boxes]."""
    found = np.zeros(boxes, bool)
    found[[identity - 1 for identity in evaluation.image_diagnostics(iou_thr=F1_IOU)["gt_match"]]] = True
    return found


def _precision(evaluation: COCOeval) -> np.ndarray:
    """[10, K, 101]: of each IoU and class, NaN without objects."""
    accumulated: Any = evaluation.eval
    precision = np.asarray(accumulated["precision"])[:, :, :, 0, -1].transpose(0, 2, 1)
    return np.where(precision < 0, np.nan, precision)


def _classes(split: Split, standard: COCOeval, rows: np.ndarray, hit: np.ndarray) -> list[ClassNumbers]:
    labels = np.concatenate([np.zeros(0, np.int64), *(record.labels for record in split.records)])
    objects = np.bincount(labels, minlength=len(split.class_names)).tolist()
    means = _precision(standard).mean(axis=2)
    result = []
    for label, name in enumerate(split.class_names):
        own = rows[:, 6] == label + 1
        best = best_f1_threshold(rows[own, 5], hit[own], objects[label])
        point = None if best is None else at_threshold(rows[own, 5], hit[own], objects[label], best)
        known = objects[label] > 0
        ap, ap50 = (float(means[:, label].mean()), float(means[0, label])) if known else (None, None)
        result.append(ClassNumbers(name, ap, ap50, objects[label], point))
    return result


def _errors(everything: COCOeval, shown: COCOeval) -> dict[ErrorKind, tuple[int, float]]:
    """Counts of what is shown; the cost of all detections, as AP looks at all."""
    costs = everything.tide_errors(F1_IOU, BACKGROUND_IOU)["delta_ap"]
    counts = shown.tide_errors(F1_IOU, BACKGROUND_IOU)["counts"]
    return {kind: (int(counts[key]), float(costs[key])) for kind, key in KINDS.items()}


def _sizes(split: Split, found: np.ndarray) -> dict[str, tuple[int, int]]:
    areas = np.concatenate([np.zeros(0), *(record.areas for record in split.records)])
    result = {}
    for (_, low), (name, high) in pairwise([("", -1.0), *SIZES.items()]):
        inside = (areas >= low) & (areas < high)
        result[name] = (int(inside.sum()), int(found[inside].sum()))
    return result


def _outcomes(
    split: Split, rows: np.ndarray, counts: np.ndarray, shown: COCOeval, threshold: float, found: np.ndarray
) -> list[Outcome]:
    """Of each image, in the order of `CocoEvaluator.found` and of its objects."""
    above = rows[:, 5] >= threshold
    statuses = np.full(len(rows), ASIDE, np.int8)
    statuses[counts & above] = _statuses(shown, int((counts & above).sum()))
    images = np.arange(1, len(split.records) + 2)
    starts = np.searchsorted(rows[above, 0], images)
    ends = np.cumsum([0, *(len(record.boxes) for record in split.records)])
    return [
        Outcome(record, statuses[above][starts[record] : starts[record + 1]], found[ends[record] : ends[record + 1]])
        for record in range(len(split.records))
    ]
