"""Evaluation from folders to numbers and a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from smca.errors import DataError
from smca.evaluation.command import evaluate_model
from smca.inference.loading import load
from tests.evaluation.splits import METRICS
from tests.inference.small_model import save_small_model

NAMES = ("cat", "dog", "cow")


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    save_small_model(tmp_path / "model", NAMES)
    return tmp_path / "model"


def write_data(folder: Path, names: tuple[str, ...]) -> Path:
    """Three images and one that is missing, one box each; ids have gaps."""
    rng = np.random.default_rng(0)
    content: dict[str, list[dict[str, Any]]] = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 60, "height": 40} for i in range(4)],
        "categories": [{"id": 5 * k + 3, "name": name} for k, name in enumerate(names)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 3, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0}
            for i in range(4)
        ],
    }
    folder.mkdir()
    (folder / "val.json").write_text(json.dumps(content))
    for index in range(3):
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    return folder


def test_numbers_page_and_findings(model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_data(tmp_path / "data", NAMES)
    summary = evaluate_model(load(model_folder, "cpu"), data, batch=2, workers=0, report=tmp_path / "report")
    assert set(summary) == {*METRICS, "per_class", "best_threshold", "variation"}
    assert set(summary["per_class"]) == set(NAMES)
    assert summary["per_class"]["dog"] is None
    assert "3.png" in capsys.readouterr().out
    assert "2.png" in (tmp_path / "report" / "index.html").read_text()


def test_classes_are_matched_by_name(model_folder: Path, tmp_path: Path) -> None:
    turned = write_data(tmp_path / "turned", NAMES[::-1])
    summary = evaluate_model(load(model_folder, "cpu"), turned, workers=0)
    assert tuple(summary["per_class"]) == NAMES
    assert [name for name, value in summary["per_class"].items() if value is not None] == ["cow"]


def test_class_the_model_does_not_know(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'horse'"):
        evaluate_model(load(model_folder, "cpu"), write_data(tmp_path / "data", ("cat", "horse")), workers=0)
