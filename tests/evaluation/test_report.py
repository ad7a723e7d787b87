"""The page of an evaluation: it says what was found, at the edges too, and shows no NaN."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import PreTrainedModel

from smca.data.records import Record, Split
from smca.evaluation.coco import CocoEvaluator
from smca.evaluation.examination import Examination
from smca.evaluation.report import write_report
from smca.inference.loading import load, processor_of
from smca.sizes import ImageSize
from tests.evaluation.splits import METRICS, Found, random_boxes
from tests.inference.small_model import save_small_model
from tests.visualization.test_page import read

NAMES = ("cat", "$d_og$", "<cow>")
NOTHING: Found = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    """A model in a run's folder."""
    run = tmp_path_factory.mktemp("runs") / "mine"
    save_small_model(run / "best", NAMES)
    rows = [{"epoch": 1, "loss": 3.0, "AP": None, "AP50": None}, {"epoch": 2, "loss": 2.0, "AP": 0.1, "AP50": 0.2}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load(run / "best", "cpu")


def picture(folder: Path, index: int, size: ImageSize, boxes: int, crowd: bool = False) -> Record:
    path = folder / f"{index}.png"
    pixels = np.random.default_rng(index).integers(0, 256, (size.height, size.width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    corners = np.tile(np.array([[1, 1, size.width - 1, size.height - 1]], np.float32), (boxes, 1))
    labels, areas = np.zeros(boxes, np.int64), np.full(boxes, 900.0)
    return Record(index, path, size, corners, labels, np.full(boxes, crowd), areas)


def examined(model: PreTrainedModel, records: list[Record], found: list[Found]) -> Examination:
    split = Split("val", records, NAMES, (1, 2, 3))
    evaluator = CocoEvaluator(split)
    for index, one in enumerate(found):
        evaluator.add(index, *one)
    return Examination.of(model, processor_of(model), Path("some/data"), evaluator)


def page_of(examination: Examination, folder: Path) -> str:
    return write_report(folder, examination).read_text()


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", " ".join(read(re.sub(r"<style>.*</style>", "", html, flags=re.DOTALL)).text))


def right(record: Record, score: float, label: int = 0) -> Found:
    count = len(record.boxes)
    return record.boxes, np.full(count, score, np.float32), np.full(count, label, np.int64)


def test_the_page_says_what_was_found(model: PreTrainedModel, tmp_path: Path) -> None:
    size = ImageSize(height=60, width=80)
    records = [picture(tmp_path, i, size, 1) for i in range(3)]
    examination = examined(model, records, [right(records[0], 0.9), right(records[1], 0.8, 2), NOTHING])
    html = page_of(examination, tmp_path / "report")
    text = text_of(html)
    for fact in (
        "Evaluation of mine/best",
        "On data, val: 3 images, 3 objects, 3 classes",
        "100 detections an image, no score cut",
        "threshold 0.500",
        "cat taken for <cow> 1",
        "Left out: 1 classes",
        "0.png: 1 found, 0 missed, 0 false alarms, F1 100",
        "1.png: 0 found, 1 missed, 1 false alarms, F1 0",
        "2.png: 0 found, 1 missed, 0 false alarms, F1 0",
        "$d_og$ — — no objects",
        "Convergence",
        "smca-detr",
        f"{sum(p.numel() for p in model.parameters()):,}",
    ):
        assert fact in text, fact
    assert text.index("1.png") < text.index("2.png") < text.rindex("Best images") < text.rindex("0.png")
    assert {"script", "link", "iframe"}.isdisjoint(read(html).tags)


def test_machines_get_the_pages_numbers(model: PreTrainedModel, tmp_path: Path) -> None:
    records = [picture(tmp_path, i, ImageSize(height=60, width=80), 1) for i in range(2)]
    examination = examined(model, records, [right(records[0], 0.9), right(records[1], 0.8, 2)])
    numbers = json.loads(json.dumps(examination.to_json(), allow_nan=False))
    assert {*METRICS, "per_class", "best_threshold"} <= set(numbers)
    assert numbers["AP50"] == pytest.approx(examination.summary["AP50"])
    assert numbers["at_threshold"] == {"threshold": 0.5, "precision": 0.5, "recall": 0.5, "f1": 0.5}
    assert numbers["confusion"]["names"] == [*NAMES, "background"]
    assert numbers["confusion"]["matrix"] == [[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert numbers["errors"]["classification"]["shown"] == 1
    assert numbers["sizes"] == {
        "small": {"objects": 2, "found": 1},
        "medium": {"objects": 0, "found": 0},
        "large": {"objects": 0, "found": 0},
    }
    assert numbers["classes"]["$d_og$"] == {"AP": None, "AP50": None, "objects": 0, "best_f1": None}
    assert np.mean(numbers["precision_over_recall"]["cat"]) == pytest.approx(numbers["classes"]["cat"]["AP50"])
    assert [one["image"] for one in numbers["worst_images"]] == [str(records[1].path)]


@pytest.mark.parametrize("boxes", ["none", "crowd", "one"])
@pytest.mark.parametrize("detections", [0, 40])
def test_edges_are_said_not_shown_as_nan(boxes: str, detections: int, model: PreTrainedModel, tmp_path: Path) -> None:
    record = picture(tmp_path, 0, ImageSize(height=60, width=80), int(boxes != "none"), crowd=boxes == "crowd")
    found = random_boxes(detections, np.random.default_rng(0)).clip(0, 60)
    found[:, 2:] += 1
    one = (found, np.full(detections, 0.9, np.float32), np.ones(detections, np.int64))
    examination = examined(model, [record], [one])
    text = text_of(page_of(examination, tmp_path / "report"))
    assert not re.search(r"\b(nan|NaN|inf|None)\b", text)
    json.dumps(examination.to_json(), allow_nan=False)
    assert ("No objects, so no curve" in text) == (boxes != "one")
    assert ("No image has an error." in text) == (detections == 0 and boxes != "one")
    assert "In no image is anything found." in text


@pytest.mark.parametrize(("height", "width"), [(1, 1), (20, 5000), (3000, 12), (16, 16)])
def test_images_of_any_shape_are_drawn(height: int, width: int, model: PreTrainedModel, tmp_path: Path) -> None:
    record = picture(tmp_path, 0, ImageSize(height=height, width=width), 1)
    record.boxes[:] = (0, 0, width, height)
    html = page_of(examined(model, [record], [NOTHING]), tmp_path / "report")
    assert "0.png: 0 found, 1 missed" in html
    assert len(html) < 3_000_000


def test_metrics_that_cannot_be_read_do_not_end_the_report(model: PreTrainedModel, tmp_path: Path) -> None:
    path = Path(str(model.name_or_path)).parent / "metrics.jsonl"
    before = path.read_text()
    path.write_text("{")
    try:
        record = picture(tmp_path, 0, ImageSize(height=60, width=80), 1)
        text = text_of(page_of(examined(model, [record], [NOTHING]), tmp_path / "report"))
    finally:
        path.write_text(before)
    assert "has a line that is not JSON" in text
