"""Which threshold transformers' pipeline shows a model's detections from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import DetrImageProcessor, pipeline

from smca.modeling.image_processing import SmcaImageProcessor
from smca.modeling.pipeline import DetectionPipeline
from tests.modeling.tiny import stirred_model

OWN = 0.3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose scores lie on both sides of its threshold and of one half."""
    path = tmp_path_factory.mktemp("model")
    model = stirred_model(threshold=OWN, num_queries=20)
    torch.nn.init.normal_(model.class_head.bias, std=2.0)
    model.save_pretrained(path)
    SmcaImageProcessor(size={"shortest_edge": 64, "longest_edge": 100}).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8))


def lowest(found: list[dict[str, Any]]) -> float:
    return min(one["score"] for one in found)


def test_without_a_threshold_it_is_the_models(folder: Path, picture: Image.Image) -> None:
    detector = pipeline("object-detection", model=str(folder))
    everything = detector(picture, threshold=0.0)
    assert lowest(everything) < OWN
    expected = [one for one in everything if one["score"] > OWN]
    assert detector(picture) == expected
    assert OWN < lowest(expected) < 0.5
    assert [len(found) for found in detector([picture, picture], batch_size=2)] == [len(expected)] * 2


def test_a_threshold_that_is_given_counts(folder: Path, picture: Image.Image) -> None:
    detector = pipeline("object-detection", model=str(folder), threshold=0.5)
    everything = detector(picture, threshold=0.0)
    assert lowest(everything) < OWN
    assert detector(picture) == [one for one in everything if one["score"] > 0.5]
    assert pipeline("object-detection", model=str(folder))(picture, threshold=0.5) == detector(picture)


@pytest.mark.parametrize(("given", "expected"), [({}, 0.5), ({"threshold": 0.3}, 0.3)])
def test_models_of_others_are_answered_as_before(
    given: dict[str, float], expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def follow(_: object, __: object, threshold: float, ___: object) -> list[dict[str, torch.Tensor]]:
        seen.append(threshold)
        return [{"scores": torch.zeros(0), "labels": torch.zeros(0), "boxes": torch.zeros(0, 4)}]

    monkeypatch.setattr(DetrImageProcessor, "post_process_object_detection", follow)
    detector: Any = DetectionPipeline.__new__(DetectionPipeline)
    detector.image_processor, detector.tokenizer = DetrImageProcessor(), None
    detector.model = SimpleNamespace(config=SimpleNamespace(threshold=0.1, id2label={}))
    assert detector.postprocess({"target_size": torch.tensor([[60, 90]])}, **given) == []
    assert seen == [expected]
