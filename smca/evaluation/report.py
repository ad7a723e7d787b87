"""The HTML report of an evaluation: COCO's numbers, AP by class, and found beside true on some images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from transformers import PreTrainedModel

from smca.data.records import Record, Split
from smca.detections import Detections
from smca.evaluation.coco import Summary
from smca.files import write_atomically
from smca.inference.loading import Processor
from smca.inference.predict import predict
from smca.visualization.detections import draw, to_picture
from smca.visualization.page import Card, Picture, Section, Table, page

EXAMPLES = 8
GAP = 8
MEANINGS = {
    "AP": "mean over IoU 0.50 to 0.95",
    "AP50": "IoU 0.50",
    "AP75": "IoU 0.75",
    "APs": "objects below 32x32 pixels",
    "APm": "objects from 32x32 to 96x96 pixels",
    "APl": "objects above 96x96 pixels",
    "AR1": "recall with 1 detection an image",
    "AR10": "recall with 10 detections an image",
    "AR100": "recall with 100 detections an image",
    "ARs": "recall, objects below 32x32 pixels",
    "ARm": "recall, objects from 32x32 to 96x96 pixels",
    "ARl": "recall, objects above 96x96 pixels",
}


def write_report(
    folder: Path, subject: str, summary: Summary, split: Split, model: PreTrainedModel, processor: Processor
) -> Path:
    """Write `folder`/index.html on a `subject` ("MODEL on DATA"); the first images of the split are shown."""
    examples = split.records[:EXAMPLES]
    found = predict(model, processor, [record.path for record in examples])
    pairs = zip(examples, found, strict=True)
    cards = [Card(value, key, meaning) for key, value, meaning in number_rows(summary)[:3]]
    numbers = [(f"{key}: {meaning}", value) for key, value, meaning in number_rows(summary)]
    sections = [
        Section(
            "What it finds",
            "Left: detections above the model's own threshold, with scores. Right: the annotations.",
            [_compared(record, detections, split.class_names) for record, detections in pairs],
        ),
        Section("COCO's twelve numbers, %", table=Table(("number", "value"), numbers)),
        Section("AP by class, %", table=Table(("class", "AP"), class_rows(summary))),
    ]
    text = f"{subject}: {len(split.records)} images of {split.name}, {len(split.class_names)} classes."
    write_atomically(folder / "index.html", page("Evaluation", text, [*cards, _images(split)], sections))
    return folder / "index.html"


def number_rows(summary: Summary) -> list[tuple[str, str, str]]:
    """Name, value in percent and meaning of each of the twelve numbers."""
    numbers: Mapping[str, Any] = summary
    return [(key, percent(numbers[key]), meaning) for key, meaning in MEANINGS.items()]


def class_rows(summary: Summary) -> list[tuple[str, str]]:
    """Name and AP in percent of each class."""
    return [(name, percent(value)) for name, value in summary["per_class"].items()]


def percent(value: float | None) -> str:
    """A fraction in percent with one decimal; a dash where it is undefined."""
    return "-" if value is None else f"{100 * value:.1f}"


def _images(split: Split) -> Card:
    return Card(f"{sum(len(record.boxes) for record in split.records):,}", "objects", f"{len(split.records):,} images")


def _compared(record: Record, found: Detections, class_names: Sequence[str]) -> Picture:
    """What was found beside what is there."""
    names = tuple(class_names[label] for label in record.labels)
    true = Detections(record.boxes, np.ones(len(names), np.float32), record.labels, names, record.size)
    image = to_picture(record.path)
    left, right = draw(image, found), draw(image, true, with_scores=False)
    both = Image.new("RGB", (2 * image.width + GAP, image.height), "white")
    both.paste(left, (0, 0))
    both.paste(right, (image.width + GAP, 0))
    return Picture(both, f"{record.path.name}: {len(found)} found, {len(true)} annotated", "half")
