"""`describe`: the paper's sizes, memory against what real tensors keep, and the target it is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from smca.errors import ConfigurationError, ModelError
from smca.modeling.image_processing import SmcaImageProcessor
from smca.sizes import ImageSize
from smca.training.info import PARTS, describe
from smca.training.launch import resolved_yaml
from smca.training.memory import Alive, kept_for_backward, most_at_inference
from smca.training.request import TrainRequest
from tests.modeling.tiny import small_config, small_model

PAPER_SIZE = ImageSize(height=800, width=1066)


@pytest.mark.parametrize(
    ("name", "part", "millions", "size", "gmacs"),
    [
        ("smca-r50", "parameters_trainable", 39.53, PAPER_SIZE, 133.8),
        ("smca-r50", "parameters_trainable", 39.53, ImageSize(height=800, width=1199), 154.2),
        ("smca-r101", "parameters_total", 58.69, PAPER_SIZE, None),
        ("smca-r50-single-scale", "parameters_trainable", 41.54, PAPER_SIZE, 83.6),
    ],
)
def test_sizes_are_the_papers(name: str, part: str, millions: float, size: ImageSize, gmacs: float | None) -> None:
    numbers = describe(name, size)
    assert numbers[part] / 1e6 == pytest.approx(millions, rel=0.005)
    assert gmacs is None or numbers["gmacs"] == pytest.approx(gmacs, rel=0.02)
    assert set(numbers["parts"]) == set(PARTS)
    for key in ("parameters_total", "parameters_trainable", "gmacs", "memory_activations_mib"):
        assert sum(part[key] for part in numbers["parts"].values()) == pytest.approx(numbers[key], abs=0.5)


def test_single_scale_has_the_papers_parameters_with_92_outputs(tmp_path: Path) -> None:
    file = tmp_path / "ninety-two.yaml"
    file.write_text(
        resolved_yaml(TrainRequest(Path("data"), "smca-r50-single-scale", overrides=("class_loss=softmax",)))
    )
    assert describe(str(file))["parameters_trainable"] / 1e6 == pytest.approx(41.54, abs=0.005)


def test_default_size_is_the_recipes_and_a_size_counts() -> None:
    default, smaller = describe("smca-tiny"), describe("smca-tiny", ImageSize(height=160, width=213))
    assert (default["image_height"], default["image_width"]) == (320, 426)
    assert smaller["gmacs"] < default["gmacs"] / 3
    assert smaller["memory_activations_mib"] < default["memory_activations_mib"] / 3
    assert smaller["memory_inference_mib"] < default["memory_inference_mib"]
    assert smaller["parameters_total"] == default["parameters_total"]
    assert describe("smca-r50")["image_width"] == 1066


def test_fused_attention_keeps_no_scores() -> None:
    """Six more queries by cells by heads of float32 tensors a block, of which the paper's encoder alone has 5 GiB."""
    numbers = describe("smca-r50", PAPER_SIZE)
    assert numbers["memory_activations_unfused_mib"] > 5 * numbers["memory_activations_mib"]


@pytest.mark.parametrize("switches", [{}, {"levels": ("c5",), "encoder": ("intra",)}, {"encoder": ("depthwise",)}])
def test_activations_are_what_a_real_step_keeps(switches: dict[str, Any]) -> None:
    """The CPU runs its fused kernels here; with attention dropout it cannot, and keeps what is counted as unfused."""
    for dropout in (0.0, 0.1):
        options: dict[str, Any] = {"backbone_norm": "batch", "attention_dropout": dropout, "dropout": 0.1, **switches}
        real = small_model(**options)
        with torch.device("meta"):
            empty = small_model(**options)
        held = kept_for_backward(real, torch.randn(1, 3, 96, 128), PARTS, fused=False)
        counted = kept_for_backward(empty, torch.empty(1, 3, 96, 128, device="meta"), PARTS, fused=dropout == 0)
        assert sum(counted.values()) == pytest.approx(sum(held.values()), rel=0.01)
        assert counted["encoder"] == pytest.approx(held["encoder"], rel=0.01)


def test_alive_is_the_most_at_once() -> None:
    pixels = torch.zeros(100)
    with Alive(set(), pixels) as alive:
        one = pixels + 1  # 800 bytes
        two = one + one  # 1,200
        del one
        three = two.view(10, 10)  # no more
        del two
        three.add_(1)
    assert alive.most == 1200
    model = small_model()
    image = torch.zeros(1, 3, 64, 64)
    assert most_at_inference(model, image) > image.nbytes


def folder(path: Path, short: int = 96, long: int = 160) -> Path:
    small_config().save_pretrained(path)
    SmcaImageProcessor(size={"shortest_edge": short, "longest_edge": long}).save_pretrained(path)
    return path


def test_a_folder_has_its_own_size(tmp_path: Path) -> None:
    numbers = describe(str(folder(tmp_path)))
    assert (numbers["image_height"], numbers["image_width"]) == (96, 128)
    numbers = describe(str(folder(tmp_path, short=160)))
    assert (numbers["image_height"], numbers["image_width"]) == (160, 160)
    (tmp_path / "preprocessor_config.json").unlink()
    numbers = describe(str(tmp_path))
    assert (numbers["image_height"], numbers["image_width"]) == (800, 1066)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.json", "{", "not valid JSON"),
        ("config.json", "[1]", "not a JSON object"),
        ("config.json", json.dumps({"model_type": "detr"}), "a model of type 'detr'; allowed: smca"),
        ("config.json", json.dumps({"model_type": "smca", "d_model": 30}), "d_model is 30"),
        ("preprocessor_config.json", "{", "not valid JSON"),
    ],
)
def test_a_folder_that_is_no_model_is_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    (folder(tmp_path) / name).write_text(text)
    with pytest.raises(ModelError) as caught:
        describe(str(tmp_path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no .*gone; allowed: a recipe's name"):
        describe(str(tmp_path / "gone"))
    with pytest.raises(ModelError, match=r"neither a model folder \(no config.json\) nor a recipe file"):
        describe(str(tmp_path))
    with pytest.raises(ConfigurationError, match="size is 0x3; allowed: at least 1x1"):
        describe("smca-tiny", ImageSize(height=0, width=3))
