"""What `smca explain` writes: an overview, one picture a detection with all heads, and the numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from smca.errors import DataError, ModelError
from smca.inference.explain import explain, explain_file
from smca.inference.loading import load
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.image_processing import SmcaImageProcessor
from tests.modeling.tiny import small_config, stir


@pytest.fixture
def photo(tmp_path: Path, pictures: list[np.ndarray]) -> Path:
    """Noise of 50 x 90 pixels."""
    Image.fromarray(pictures[1]).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def detr_folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = small_config(levels=("c4",), encoder=("intra",), modulation="none", box_prior=False)
    stir(SmcaForObjectDetection(config)).save_pretrained(tmp_path / "detr")
    SmcaImageProcessor(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(tmp_path / "detr")
    return tmp_path / "detr"


def written(folder: Path) -> tuple[set[str], list[dict[str, Any]]]:
    for path in folder.glob("*.png"):
        assert Image.open(path).getextrema() != ((255, 255),) * 3
    return {path.name for path in folder.iterdir()}, json.loads((folder / "explain.json").read_text())


def test_pictures_and_numbers_of_the_best_detections(model_folder: Path, photo: Path, tmp_path: Path) -> None:
    out = explain_file(model_folder, photo, tmp_path / "out", threshold=0.0, most=2)
    names, rows = written(out)
    assert names == {"overview.png", "detection-1.png", "detection-2.png", "explain.json"}
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    for row in rows:
        assert sum(row["scale_weights"].values()) == pytest.approx(1, abs=1e-5)
        assert list(row["scale_weights"]) == ["c4", "c5", "c6"]
        assert all(0 <= row["centre"][axis] <= 1 for axis in "xy")
        assert 0 <= row["query"] < 12


def test_detections_are_those_of_predict(model_folder: Path, pictures: list[np.ndarray]) -> None:
    model = load(model_folder)
    assert isinstance(model, SmcaForObjectDetection)
    image = torch.from_numpy(pictures[1]).permute(2, 0, 1)
    for threshold in (None, 0.0):
        found = explain(model, image, threshold, most=36).detections
        predicted = model.predict([pictures[1]], threshold)[0]
        assert found.names == predicted.names
        assert found.scores == pytest.approx(predicted.scores, abs=1e-5)
        assert found.boxes == pytest.approx(predicted.boxes, abs=0.01)
    assert len(found) == 36


def test_maps_belong_to_the_queries_of_the_detections(model_folder: Path, pictures: list[np.ndarray]) -> None:
    model = load(model_folder)
    assert isinstance(model, SmcaForObjectDetection)
    image = torch.from_numpy(pictures[1]).permute(2, 0, 1)
    found = explain(model, image, threshold=0.0, most=4)
    assert [level.name for level in found.levels] == ["c4", "c5", "c6"]
    assert [level.stride for level in found.levels] == [16, 32, 64]
    for level in found.levels:
        rows, columns = -(-found.seen.height // level.stride), -(-found.seen.width // level.stride)
        assert level.weight_maps is not None
        assert level.weight_maps.shape == level.co_attention.shape == (4, 4, rows, columns)
        assert level.co_attention.sum(axis=(2, 3)) == pytest.approx(np.ones((4, 4)), abs=1e-5)
        assert (level.weight_maps >= 0).all()
        assert (level.weight_maps <= 1).all()
    best = explain(model, image, threshold=0.0, most=1)
    assert np.array_equal(best.queries, found.queries[:1])
    assert np.allclose(best.levels[0].co_attention, found.levels[0].co_attention[:1])


def test_detr_has_attention_but_no_maps(detr_folder: Path, photo: Path, tmp_path: Path) -> None:
    names, rows = written(explain_file(detr_folder, photo, tmp_path / "out", threshold=0.0, most=2))
    assert names == {"overview.png", "detection-1.png", "detection-2.png", "explain.json"}
    assert all(row.keys() == {"label", "score", "box", "query"} for row in rows)


def test_an_earlier_run_leaves_no_picture_behind(model_folder: Path, photo: Path, tmp_path: Path) -> None:
    explain_file(model_folder, photo, tmp_path / "out", threshold=0.0, most=3)
    names, _ = written(explain_file(model_folder, photo, tmp_path / "out", threshold=0.0, most=1))
    assert names == {"overview.png", "detection-1.png", "explain.json"}


def test_no_detection_leaves_an_overview_alone(model_folder: Path, photo: Path, tmp_path: Path) -> None:
    assert written(explain_file(model_folder, photo, tmp_path / "out", threshold=1.0)) == (
        {"overview.png", "explain.json"},
        [],
    )


def test_what_cannot_be_explained_leaves_nothing(model_folder: Path, photo: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.png"):
        explain_file(model_folder, tmp_path / "nowhere.png", tmp_path / "out")
    with pytest.raises(ModelError, match="nowhere"):
        explain_file(tmp_path / "nowhere", photo, tmp_path / "out")
    assert not (tmp_path / "out").exists()
