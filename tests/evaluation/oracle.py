"""What a confusion matrix and kinds of errors are, detection by detection, slowly and as the page defines them."""

from __future__ import annotations

from collections import Counter

import numpy as np

from smca.data.records import Record, Split
from tests.evaluation.splits import Found

HIT, NEAR = 0.5, 0.1


def iou(one: np.ndarray, other: np.ndarray, crowd: bool = False) -> float:
    """Overlap of two boxes; with a crowd region, the share of `one` that lies in it."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = float(width) * float(height)
    areas = [float(box[2] - box[0]) * float(box[3] - box[1]) for box in (one, other)]
    return shared / (areas[0] if crowd else sum(areas) - shared)


def best_first(found: Found, threshold: float) -> list[tuple[np.ndarray, int]]:
    """Boxes and labels of the detections from `threshold` on, best score first."""
    boxes, scores, labels = found
    order = np.argsort(-scores.astype(np.float64), kind="stable")
    return [(boxes[i].astype(np.float64), int(labels[i])) for i in order if float(scores[i]) >= threshold]


def confusion(split: Split, found: list[Found], threshold: float) -> np.ndarray:
    """[K + 1, K + 1]: rows what is there, columns what was found, last background; what lies in a crowd is left out."""
    none = len(split.class_names)
    matrix = np.zeros((none + 1, none + 1), int)
    for record, one in zip(split.records, found, strict=True):
        free = {k for k in range(len(record.boxes)) if not record.crowd[k]}
        counted = hits(record, one, threshold)
        for place, (box, label) in enumerate(best_first(one, threshold)):
            overlaps = {k: iou(box, record.boxes[k].astype(np.float64)) for k in sorted(free)}
            best = max(overlaps, key=overlaps.__getitem__, default=None)
            if place not in counted:
                continue
            if best is not None and overlaps[best] >= HIT:
                matrix[record.labels[best], label] += 1
                free.remove(best)
            else:
                matrix[none, label] += 1
        for k in free:
            matrix[record.labels[k], none] += 1
    return matrix


def in_crowd(record: Record, box: np.ndarray, label: int) -> bool:
    """Whether half of a box lies in a crowd region of its class."""
    regions = record.boxes[record.crowd & (record.labels == label)].astype(np.float64)
    return any(iou(box, region, crowd=True) >= HIT for region in regions)


def hits(record: Record, found: Found, threshold: float) -> dict[int, int | None]:
    """Place in `best_first` -> the object it hits as COCO matches, None for a false alarm; in a crowd: left out."""
    taken: set[int] = set()
    result: dict[int, int | None] = {}
    for place, (box, label) in enumerate(best_first(found, threshold)):
        mine = [k for k in range(len(record.boxes)) if record.labels[k] == label and not record.crowd[k]]
        overlaps = {k: iou(box, record.boxes[k].astype(np.float64)) for k in mine if k not in taken}
        best = max(reversed(overlaps), key=overlaps.__getitem__, default=None)
        if best is not None and overlaps[best] >= HIT:
            taken.add(best)
            result[place] = best
        elif not in_crowd(record, box, label):
            result[place] = None
    return result


def errors(split: Split, found: list[Found], threshold: float) -> Counter[str]:
    """How often each kind occurs."""
    counts: Counter[str] = Counter()
    for record, one in zip(split.records, found, strict=True):
        counts.update(_errors_of_image(record, one, threshold))
    return counts


def _errors_of_image(record: Record, found: Found, threshold: float) -> Counter[str]:
    ranked, hit = best_first(found, threshold), hits(record, found, threshold)
    real = [k for k in range(len(record.boxes)) if not record.crowd[k]]
    lost = set(real) - set(hit.values())
    explained: set[int] = set()
    counts: Counter[str] = Counter()
    for place in (place for place, target in hit.items() if target is None):
        box, label = ranked[place]
        overlaps = {k: iou(box, record.boxes[k].astype(np.float64)) for k in real}
        own = {k: value for k, value in overlaps.items() if record.labels[k] == label}
        other = {k: value for k, value in overlaps.items() if record.labels[k] != label}
        nearest = max(own, key=own.__getitem__, default=None)
        foreign = max(other, key=other.__getitem__, default=None)
        if nearest is not None and NEAR <= own[nearest] < HIT:
            kind, target = "localisation", nearest
        elif foreign is not None and other[foreign] >= HIT:
            kind, target = "classification", foreign
        elif nearest is not None and own[nearest] >= HIT:
            kind, target = "duplicate", None
        elif foreign is not None and other[foreign] >= NEAR:
            kind, target = "both", None
        else:
            kind, target = "background", None
        counts[kind] += 1
        explained |= {target} if target is not None else set()
    counts["missed"] += len(lost - explained)
    return counts
