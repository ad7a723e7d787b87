"""Images of a split, drawn: what is there beside what was found, and which of both is right.

Pictures are scaled to at most `LONGEST` pixels (small ones up to `SHORTEST`) before anything is drawn, so that names
can be read on all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from smca.data.images import load_image
from smca.data.records import Record
from smca.detections import Detections
from smca.evaluation.coco import CocoEvaluator
from smca.evaluation.diagnosis import ASIDE, RIGHT, WRONG, Outcome
from smca.sizes import ImageSize
from smca.visualization.detections import draw
from smca.visualization.page import Picture

LONGEST, SHORTEST = 640, 360
TONES = {RIGHT: 1, WRONG: 0, ASIDE: 3}  # places in COLOURS: blue, red, amber


def outcome_picture(evaluator: CocoEvaluator, outcome: Outcome, threshold: float) -> Picture:
    """First what is there (red: missed), then what was shown (red: false alarm); in a crowd: amber."""
    record = evaluator.split.records[outcome.record]
    there = np.full(len(record.boxes), TONES[ASIDE])
    there[~record.crowd] = np.where(outcome.found, TONES[RIGHT], TONES[WRONG])
    shown = np.array([TONES[status] for status in outcome.shown.tolist()], int)
    image = _image(record)
    left = _drawn(image, annotated(record, evaluator.split.class_names), there, with_scores=False)
    right = _drawn(image, evaluator.found(outcome.record, threshold), shown)
    caption = f"{record.path.name}: {outcome.hits} found, {outcome.missed} missed, {outcome.false_alarms} false alarms"
    f1 = "" if outcome.f1 is None else f", F1 {100 * outcome.f1:.0f}"
    return Picture(left, f"{caption}{f1}", "half", beside=right)


def prediction_picture(record: Record, found: Detections) -> Picture:
    """What was found, in the colours of the classes."""
    return Picture(
        _drawn(_image(record), found), f"{record.path.name}: {len(found)} found, {len(record.trainable[1])} there"
    )


def annotated(record: Record, class_names: Sequence[str]) -> Detections:
    """What is there, as detections that are sure."""
    crowds = zip(record.labels.tolist(), record.crowd.tolist(), strict=True)
    names = tuple(f"{class_names[label]} (crowd)" if crowd else class_names[label] for label, crowd in crowds)
    return Detections(record.boxes, np.ones(len(names), np.float32), record.labels, names, record.size)


def _image(record: Record) -> Image.Image:
    """The image, scaled."""
    image = Image.fromarray(load_image(record.path).permute(1, 2, 0).numpy())
    scale = LONGEST / max(image.size)
    if scale > 1:
        scale = max(1.0, min(scale, SHORTEST / min(image.size)))
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))


def _drawn(
    image: Image.Image, detections: Detections, colours: np.ndarray | None = None, with_scores: bool = True
) -> Image.Image:
    """An image that was scaled, with detections in pixels of the original."""
    scale = np.array([image.width / detections.size.width, image.height / detections.size.height] * 2, np.float32)
    size = ImageSize(height=image.height, width=image.width)
    return draw(image, replace(detections, boxes=detections.boxes * scale, size=size), with_scores, colours)
