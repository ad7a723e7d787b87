"""Prediction: what comes out, and that neither batch nor kind of picture changes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from smca.detections import Detections
from smca.errors import DataError, ModelError
from smca.inference.loading import processor_of
from smca.inference.predict import predict, predict_with
from smca.modeling.detector import SmcaForObjectDetection
from smca.sizes import ImageSize


def assert_same(a: Detections, b: Detections) -> None:
    np.testing.assert_allclose(a.boxes, b.boxes, atol=1e-2)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)
    assert a.names == b.names


def test_every_pair_of_few_queries_answers_at_threshold_zero(
    model: SmcaForObjectDetection, pictures: list[np.ndarray]
) -> None:
    found = predict_with(model, pictures, threshold=0)
    for detections, picture in zip(found, pictures, strict=True):
        size = ImageSize(*picture.shape[:2])
        assert len(detections) == model.config.num_queries * 3
        assert detections.size == size
        assert (np.diff(detections.scores) <= 0).all()
        assert (detections.boxes >= 0).all()
        assert (detections.boxes <= [size.width, size.height, size.width, size.height]).all()
        assert all(
            name == ("cat", "dog", "cow")[label]
            for name, label in zip(detections.names, detections.labels, strict=True)
        )


@pytest.mark.parametrize("batch", [2, 5])
def test_batch_changes_nothing(model: SmcaForObjectDetection, pictures: list[np.ndarray], batch: int) -> None:
    processor = processor_of(model)
    together = predict(model, processor, pictures, threshold=0, batch=batch)
    for a, b in zip(together, predict(model, processor, pictures, threshold=0), strict=True):
        assert_same(a, b)


def test_kind_of_picture_changes_nothing(
    model: SmcaForObjectDetection, pictures: list[np.ndarray], folder: Path
) -> None:
    array = pictures[0]
    kinds = [
        array,
        Image.fromarray(array),
        folder / "b.png",
        str(folder / "b.png"),
        torch.from_numpy(array).permute(2, 0, 1),
    ]
    first, *others = predict_with(model, kinds, threshold=0)
    for other in others:
        assert_same(first, other)


def test_one_picture_needs_no_list(model: SmcaForObjectDetection, folder: Path) -> None:
    processor = processor_of(model)
    assert len(predict(model, processor, str(folder / "b.png"))) == 1
    assert len(predict(model, processor, Image.open(folder / "b.png"))) == 1


def test_threshold_is_the_models_own_unless_given(
    model: SmcaForObjectDetection, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = predict_with(model, pictures, threshold=0)[0]
    monkeypatch.setattr(model.config, "threshold", float(everything.scores[4]))
    own = predict_with(model, pictures)[0]
    assert np.array_equal(own.scores, everything.scores[:5])
    assert len(predict_with(model, pictures, threshold=1)[0]) == 0


def test_no_pictures(model: SmcaForObjectDetection) -> None:
    assert predict_with(model, []) == []


def test_progress_counts_pictures(model: SmcaForObjectDetection, pictures: list[np.ndarray]) -> None:
    seen: list[tuple[int, int]] = []
    predict(model, processor_of(model), pictures, batch=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_training_mode_is_left_as_it_was(model_folder: Path, pictures: list[np.ndarray]) -> None:
    model = SmcaForObjectDetection.from_pretrained(model_folder).train()
    first, again = (predict_with(model, pictures[:1], threshold=0)[0] for _ in range(2))
    assert model.training
    assert np.array_equal(first.boxes, again.boxes)


def test_unreadable_file_is_named(model: SmcaForObjectDetection, folder: Path) -> None:
    with pytest.raises(DataError, match=r"notes\.txt"):
        predict_with(model, [folder / "notes.txt"])


def test_diverged_model_is_named_with_the_image(model_folder: Path, pictures: list[np.ndarray]) -> None:
    model = SmcaForObjectDetection.from_pretrained(model_folder)
    with torch.no_grad():
        next(model.class_head.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match=r"prediction for image 0 is NaN or infinite"):
        predict_with(model, pictures)
