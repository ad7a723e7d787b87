"""The COCO metrics of a split, streaming: twelve numbers, AP per class and the threshold of best F1.

Boxes are (x1, y1, x2, y2) in pixels of the original image, labels 0..K-1. Each image keeps its 100 best
detections. A metric of a range that has no boxes is None (pycocotools says -1). Crowd regions are neither
found nor missed, as in pycocotools. hotcoco, which does the matching, is known here and to diagnosis.py alone.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from hotcoco import COCO, COCOeval
from torch import distributed

from smca.data.records import Split
from smca.detections import Detections
from smca.evaluation.threshold import best_f1_threshold
from smca.evaluation.variation import variation

KEPT_PER_IMAGE = 100
F1_IOU = 0.5


class Summary(TypedDict):
    """COCO's twelve numbers in [0, 1], AP by class name, the threshold of best F1 at IoU 0.5, and how much predictions
    depend on the image.
    """

    AP: float | None
    AP50: float | None
    AP75: float | None
    APs: float | None
    APm: float | None
    APl: float | None
    AR1: float | None
    AR10: float | None
    AR100: float | None
    ARs: float | None
    ARm: float | None
    ARl: float | None
    per_class: dict[str, float | None]
    best_threshold: float | None
    variation: float | None


class CocoEvaluator:
    """Collects detections image by image; records without any count as images where nothing was found."""

    def __init__(self, split: Split) -> None:
        self.split = split
        self._found: dict[int, np.ndarray] = {}

    def add(self, record: int, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> None:
        """Take the detections of `split.records[record]`: boxes [n, 4], scores [n], labels [n], any order.

        Adding a record again replaces what was there.
        """
        best = np.argsort(-scores, kind="stable")[:KEPT_PER_IMAGE]
        rows = np.column_stack([boxes[best].reshape(-1, 4), scores[best], labels[best]])
        self._found[record] = rows.astype(np.float64)

    def gather(self) -> None:
        """Join the detections of all processes (collective); an image that several had is kept once."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return
        parts: list[dict[int, np.ndarray] | None] = [None] * distributed.get_world_size()
        distributed.all_gather_object(parts, self._found)
        self._found = {record: rows for part in parts if part for record, rows in part.items()}

    def found(self, record: int, lowest: float = 0.0) -> Detections:
        """What was found in `split.records[record]` with a score of at least `lowest`, best first."""
        rows = self._found.get(record, np.zeros((0, 6)))
        rows = rows[rows[:, 4] >= lowest]
        labels = rows[:, 5].astype(np.int64)
        names = tuple(self.split.class_names[label] for label in labels)
        boxes, scores = rows[:, :4].astype(np.float32), rows[:, 4].astype(np.float32)
        return Detections(boxes, scores, labels, names, self.split.records[record].size)

    def summary(self) -> Summary:
        """Match and count; may be called any number of times."""
        truth = ground_truth(self.split)
        rows = self.rows()
        evaluation = COCOeval(truth, truth.load_res(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summary_lines()
        results = evaluation.results(per_class=True)
        per_class = [_known(results["per_class"].get(str(k), -1)) for k in range(len(self.split.class_names))]
        numbers = {name: _known(value) for name, value in results["metrics"].items()}
        return Summary(
            AP=numbers["AP"],
            AP50=numbers["AP50"],
            AP75=numbers["AP75"],
            APs=numbers["APs"],
            APm=numbers["APm"],
            APl=numbers["APl"],
            AR1=numbers["AR1"],
            AR10=numbers["AR10"],
            AR100=numbers["AR100"],
            ARs=numbers["ARs"],
            ARm=numbers["ARm"],
            ARl=numbers["ARl"],
            per_class=dict(zip(self.split.class_names, per_class, strict=True)),
            best_threshold=_best_threshold(evaluation, rows, self.split),
            variation=variation([self._relative(record) for record in sorted(self._found)]),
        )

    def _relative(self, record: int) -> np.ndarray:
        """What was found in an image, best first, boxes in units of its sides."""
        height, width = self.split.records[record].size
        return self._found[record] / [width, height, width, height, 1, 1]

    def rows(self) -> np.ndarray:
        """[n, 7]: image id, x, y, width, height, score, category id, as hotcoco reads them; record by record."""
        images = [np.full(len(rows), record + 1.0) for record, rows in sorted(self._found.items())]
        found = [rows for _, rows in sorted(self._found.items())]
        x1, y1, x2, y2, score, label = np.concatenate([np.zeros((0, 6)), *found]).T
        image = np.concatenate([np.zeros(0), *images])
        return np.column_stack([image, x1, y1, x2 - x1, y2 - y1, score, label + 1])


def ground_truth(split: Split) -> COCO:
    """The split with ids 1, 2, ... for images and classes, whatever its own ids are."""
    records = split.records
    corners = np.concatenate([np.zeros((0, 4)), *(record.boxes for record in records)])
    return COCO.from_arrays(
        images=[
            {"id": i, "file_name": str(i), "height": record.size.height, "width": record.size.width}
            for i, record in enumerate(records, 1)
        ],
        categories=[{"id": k + 1, "name": str(k)} for k in range(len(split.class_names))],
        image_ids=np.repeat(np.arange(1, len(records) + 1), [len(record.boxes) for record in records]),
        category_ids=np.concatenate([np.zeros(0, np.int64), *(record.labels for record in records)]) + 1,
        boxes=np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2]]),
        area=np.concatenate([np.zeros(0), *(record.areas for record in records)]),
        iscrowd=np.concatenate([np.zeros(0, bool), *(record.crowd for record in records)]),
    )


def _best_threshold(evaluation: COCOeval, rows: np.ndarray, split: Split) -> float | None:
    """The threshold of best F1 over all classes; detections that lie in a crowd region do not count."""
    status = evaluation.image_diagnostics(iou_thr=F1_IOU)["dt_status"]
    counted = np.array(sorted(status), dtype=np.int64)
    hit = np.array([status[id_] == "tp" for id_ in counted], dtype=bool)
    boxes = sum(int((~record.crowd).sum()) for record in split.records)
    return best_f1_threshold(rows[counted - 1, 5], hit, boxes)


def _known(value: float) -> float | None:
    return None if value < 0 else float(value)
