"""Small random data sets and detections for the tests of evaluation, and pycocotools' word on them."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from smca.data.records import Record, Split
from smca.sizes import ImageSize

NAMES = ("cat", "dog", "cow", "never seen")
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
Found = tuple[np.ndarray, np.ndarray, np.ndarray]


def random_boxes(count: int, rng: np.random.Generator) -> np.ndarray:
    """[count, 4] corners of boxes of all three area ranges."""
    side = np.exp(rng.uniform(np.log(8), np.log(200), (count, 2)))
    corner = rng.uniform(0, 300, (count, 2))
    return np.concatenate([corner, corner + side], axis=1).astype(np.float32)


def record(index: int, boxes: np.ndarray, labels: np.ndarray, crowd: np.ndarray, areas: np.ndarray) -> Record:
    return Record(f"image {index}", Path(f"{index}.jpg"), ImageSize(500, 500), boxes, labels, crowd, areas)


def random_split(images: int, seed: int, names: tuple[str, ...] = NAMES) -> Split:
    """Every image has 0 to 6 boxes, one in seven a crowd region; areas are below the boxes' own."""
    rng = np.random.default_rng(seed)
    records = []
    for index in range(images):
        count = int(rng.integers(0, 7))
        boxes = random_boxes(count, rng)
        sides = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64)
        areas = sides.prod(axis=1) * rng.uniform(0.5, 1, count)
        labels = rng.integers(0, len(names) - 1, count)
        records.append(record(index, boxes, labels, rng.random(count) < 1 / 7, areas))
    return Split("val", tuple(records), names, tuple(7 * k for k in range(len(names))))


def random_detections(split: Split, seed: int, noise: float = 0.1) -> list[Found]:
    """Shaken true boxes, some twice, and false alarms; scores have ties."""
    rng = np.random.default_rng(seed)
    return [_shaken(record, len(split.class_names), noise, rng) for record in split.records]


def _shaken(record: Record, classes: int, noise: float, rng: np.random.Generator) -> Found:
    again = rng.integers(0, 3, len(record.boxes))
    boxes, labels = record.boxes.repeat(again, axis=0), record.labels.repeat(again)
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    boxes = boxes + noise * sides * rng.standard_normal(boxes.shape).astype(np.float32)
    false = int(rng.integers(0, 5))
    boxes = np.concatenate([boxes, random_boxes(false, rng)]).astype(np.float32)
    labels = np.concatenate([labels, rng.integers(0, classes, false)])
    return boxes, rng.random(len(boxes)).round(2).astype(np.float32), labels


def pycocotools_evaluation(split: Split, found: list[Found]) -> COCOeval:
    """The reference, evaluated and accumulated."""
    dataset: Any = {
        "images": [{"id": i} for i in range(1, len(split.records) + 1)],
        "categories": [{"id": k + 1, "name": name} for k, name in enumerate(split.class_names)],
        "annotations": _annotations(split),
    }
    truth = COCO()
    truth.dataset = dataset
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(_results(found)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def pycocotools_summary(split: Split, found: list[Found]) -> dict[str, float | None]:
    stats = pycocotools_evaluation(split, found).stats.tolist()
    return {name: None if value < 0 else value for name, value in zip(METRICS, stats, strict=True)}


def _annotations(split: Split) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for image, record in enumerate(split.records, 1):
        for k, box in enumerate(_xywh(record.boxes)):
            row = {
                "id": len(rows) + 1,
                "image_id": image,
                "category_id": int(record.labels[k]) + 1,
                "bbox": box,
            }
            rows.append(row | {"area": float(record.areas[k]), "iscrowd": int(record.crowd[k])})
    return rows


def _results(found: list[Found]) -> Any:
    return [
        {"image_id": image, "category_id": int(label) + 1, "bbox": box, "score": float(score)}
        for image, (boxes, scores, labels) in enumerate(found, 1)
        for box, score, label in zip(_xywh(boxes), scores, labels, strict=True)
    ]


def _xywh(boxes: np.ndarray) -> list[list[float]]:
    boxes = boxes.astype(np.float64)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist()
