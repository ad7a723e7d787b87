"""The public door: `import smca` is enough for transformers' Auto classes and pipeline to know the model."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoConfig, AutoImageProcessor, AutoModelForObjectDetection, pipeline

import smca
from tests.modeling.tiny import stirred_model

door: Any = smca
SIZES = [(90, 60), (64, 130), (200, 200)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model that finds many boxes in noise, and its processor."""
    path = tmp_path_factory.mktemp("model")
    model = stirred_model(id2label={0: "cat", 1: "dog", 2: "owl"}, threshold=0.2, num_queries=20)
    torch.nn.init.normal_(model.class_head.bias)
    model.save_pretrained(path)
    door.SmcaImageProcessor(size={"shortest_edge": 64, "longest_edge": 100}).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    draw = np.random.default_rng(0)
    return [Image.fromarray(draw.integers(0, 256, (h, w, 3), dtype=np.uint8)) for h, w in SIZES]


def test_names_at_the_door() -> None:
    assert set(smca.__all__) <= set(dir(smca))
    for name in smca.__all__:
        assert getattr(smca, name) is not None
    missing = "nothing"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(smca, missing)


def test_auto_classes_load_a_saved_model(folder: Path) -> None:
    assert isinstance(AutoConfig.from_pretrained(folder), door.SmcaConfig)
    assert isinstance(AutoModelForObjectDetection.from_pretrained(folder), door.SmcaForObjectDetection)
    assert isinstance(AutoImageProcessor.from_pretrained(folder), door.SmcaImageProcessor)


def test_pipeline_finds_what_predict_finds(
    folder: Path, pictures: list[Image.Image], caplog: pytest.LogCaptureFixture
) -> None:
    model = door.load(folder)
    logging.getLogger("transformers").propagate = True
    with caplog.at_level(logging.WARNING):
        found = pipeline("object-detection", model=str(folder), image_processor=str(folder))(pictures, threshold=0.2)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
    for theirs, ours in zip(found, model.predict(pictures), strict=True):
        assert len(theirs) == len(ours) > 0
        for one, box, score, name in zip(theirs, ours.boxes, ours.scores, ours.names, strict=True):
            assert list(one["box"].values()) == box.astype(int).tolist()
            assert one["score"] == pytest.approx(float(score), abs=1e-6)
            assert one["label"] == name


def test_predict_uses_the_models_threshold(folder: Path, pictures: list[Image.Image]) -> None:
    model = door.load(folder)
    for detections in model.predict(pictures):
        assert (detections.scores >= 0.2).all()
    assert all(len(a) <= len(b) for a, b in zip(model.predict(pictures), model.predict(pictures, 0.0), strict=True))


def test_predict_takes_one_picture_files_and_arrays(folder: Path, pictures: list[Image.Image], tmp_path: Path) -> None:
    model = door.load(folder)
    file = tmp_path / "picture.png"
    pictures[0].save(file)
    (wanted,) = model.predict([pictures[0]])
    for source in (file, np.asarray(pictures[0])):
        (found,) = model.predict([source])
        np.testing.assert_array_equal(found.boxes, wanted.boxes)


@pytest.mark.slow
def test_auto_classes_know_the_model_in_a_fresh_process(folder: Path) -> None:
    code = (
        "import smca; from transformers import AutoModelForObjectDetection as A; "
        f"print(type(A.from_pretrained({str(folder)!r})).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "SmcaForObjectDetection"
