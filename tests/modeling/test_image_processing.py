"""Pictures of any shape go in, detections in pixels of the original picture come out."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional

from smca.modeling.image_processing import SmcaImageProcessor, pixel_statistics
from smca.modeling.outputs import SmcaObjectDetectionOutput

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def processor(short: int = 64, long: int = 100, class_loss: str = "focal") -> SmcaImageProcessor:
    return SmcaImageProcessor(size={"shortest_edge": short, "longest_edge": long}, class_loss=class_loss)


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (32, 32, (64, 64)),
        (128, 256, (50, 100)),
        (64, 64, (64, 64)),
        (1, 5000, (1, 100)),
        (5000, 20, (100, 1)),
        (5000, 1, (100, 1)),
        (1, 1, (64, 64)),
    ],
)
def test_size_after_resizing(height: int, width: int, expected: tuple[int, int]) -> None:
    found = processor()(images=[noise(height, width)], return_tensors="pt")
    assert found["pixel_values"].shape == (1, 3, *expected)
    assert found["pixel_mask"].shape == (1, *expected)
    assert found["pixel_mask"].all()


def test_pixels_are_resized_with_antialiasing_then_normalised() -> None:
    image = noise(200, 160)
    found = processor()(images=[image], return_tensors="pt")["pixel_values"][0]
    resized = functional.resize(functional.pil_to_tensor(image), [80, 64], antialias=True).permute(1, 2, 0)
    wanted = (resized.numpy() / 255 - MEAN) / STD
    np.testing.assert_allclose(found.permute(1, 2, 0), wanted, atol=1e-5)


def test_a_batch_is_padded_at_the_right_and_bottom_with_zeros() -> None:
    found = processor()(images=[noise(64, 100), noise(64, 64)], return_tensors="pt")
    assert found["pixel_values"].shape == (2, 3, 64, 100)
    assert found["pixel_mask"].sum(dim=(1, 2)).tolist() == [64 * 100, 64 * 64]
    assert found["pixel_mask"][1, :, :64].all()
    assert found["pixel_values"][1, :, :, 64:].abs().max() == 0


def output(logits: list[list[float]], boxes: list[list[float]]) -> SmcaObjectDetectionOutput:
    return SmcaObjectDetectionOutput(logits=torch.tensor([logits]), pred_boxes=torch.tensor([boxes]))


BOXES = [[0.5, 0.5, 0.2, 0.4], [0.1, 0.5, 0.4, 0.2]]


def detect(logits: list[list[float]], class_loss: str, threshold: float = 0.0) -> dict[str, Tensor]:
    (found,) = processor(class_loss=class_loss).post_process_object_detection(
        output(logits, BOXES), threshold, target_sizes=[(100, 200)]
    )
    return found


def test_focal_scores_are_sigmoids_of_query_and_class_pairs() -> None:
    found = detect([[2.0, 1.0], [-1.0, 0.0]], "focal")
    torch.testing.assert_close(found["scores"], torch.tensor([2.0, 1.0, 0.0, -1.0]).sigmoid())
    assert found["labels"].tolist() == [0, 1, 1, 0]
    assert found["queries"].tolist() == [0, 0, 1, 1]


def test_softmax_scores_leave_no_object_aside() -> None:
    found = detect([[2.0, 1.0, 5.0], [1.0, 0.0, 0.0]], "softmax")
    e = np.exp([1.0, 0.0, 0.0])
    torch.testing.assert_close(found["scores"][0], torch.tensor(e[0] / e.sum()).float())
    assert found["labels"].max() < 2
    assert found["queries"].tolist() == [1, 1, 0, 0]


def test_boxes_are_corners_in_pixels_clipped_to_the_image() -> None:
    found = detect([[2.0, -9.0], [1.0, -9.0]], "focal")
    torch.testing.assert_close(found["boxes"][0], torch.tensor([80.0, 30.0, 120.0, 70.0]))
    torch.testing.assert_close(found["boxes"][1], torch.tensor([0.0, 40.0, 60.0, 60.0]))


def test_threshold_and_order() -> None:
    found = detect([[0.5, -9.0], [2.0, -9.0]], "focal", threshold=0.6)
    assert found["scores"].tolist() == sorted(found["scores"].tolist(), reverse=True)
    assert (found["scores"] > 0.6).all()
    assert len(detect([[-9.0, -9.0], [-9.0, -9.0]], "focal", threshold=0.5)["boxes"]) == 0


def test_without_sizes_boxes_stay_relative() -> None:
    (found,) = processor().post_process_object_detection(output([[2.0], [1.0]], BOXES), 0.0)
    torch.testing.assert_close(found["boxes"][0], torch.tensor([0.4, 0.3, 0.6, 0.7]))


@pytest.mark.parametrize("class_loss", ["focal", "softmax"])
def test_settings_survive_save_and_load(tmp_path: Path, class_loss: str) -> None:
    processor(96, 200, class_loss).save_pretrained(tmp_path)
    loaded = SmcaImageProcessor.from_pretrained(tmp_path)
    assert (loaded.size["shortest_edge"], loaded.size["longest_edge"]) == (96, 200)
    assert loaded.class_loss == class_loss


def test_the_class_loss_is_an_argument_like_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("transformers").propagate = True
    processor().save_pretrained(tmp_path)
    assert SmcaImageProcessor.from_pretrained(tmp_path, class_loss="softmax").class_loss == "softmax"
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("backbone", ["plain", "resnet50", "timm/resnet18d", "timm/resnet18d.ra2_in1k"])
def test_pixels_are_normalised_as_imagenet_was(backbone: str) -> None:
    np.testing.assert_array_equal(pixel_statistics(backbone), [MEAN, STD])


def test_pixels_are_normalised_as_the_weights_of_the_backbone_expect() -> None:
    assert pixel_statistics("timm/tf_efficientnet_lite0") == ((0.5,) * 3, (0.5,) * 3)
