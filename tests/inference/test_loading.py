"""Model folders: what loads, and what is refused in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from smca.errors import DeviceError, ModelError
from smca.inference.loading import class_names, load, pick_device, processor_of
from smca.inference.model_folder import PARTS
from smca.modeling.configuration import SmcaConfig
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.image_processing import SmcaImageProcessor


@pytest.fixture
def copy(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "copy"))


def test_loads_weights_names_and_processor(model_folder: Path, model: SmcaForObjectDetection) -> None:
    loaded = load(model_folder, "cpu")
    assert not loaded.training
    assert class_names(loaded) == ("cat", "dog", "cow")
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))
    processor = processor_of(loaded)
    assert isinstance(processor, SmcaImageProcessor)
    assert processor.size["shortest_edge"] == 64


def test_bfloat16_is_chosen_where_the_processor_has_it(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = torch.randn(1, 3, 64, 96)
    monkeypatch.setattr("smca.inference.loading.has_bfloat16", lambda _: True)
    exact, rounded = load(model_folder, "cpu"), load(model_folder, "cpu", precision="bf16")
    with torch.no_grad():
        logits = exact(pixels).logits, rounded(pixels).logits
    assert not torch.equal(*logits)
    torch.testing.assert_close(*logits, rtol=0, atol=0.2)
    monkeypatch.setattr("smca.inference.loading.has_bfloat16", lambda _: False)
    with pytest.raises(DeviceError, match=r"no bfloat16 arithmetic; allowed here: fp32"):
        load(model_folder, "cpu", precision="bf16")


def test_model_without_folder_has_the_papers_processor_for_its_loss() -> None:
    small = SmcaConfig(backbone="plain", d_model=8, num_heads=2, ffn_dim=8, num_queries=4, class_loss="softmax")
    processor = processor_of(SmcaForObjectDetection(small))
    assert isinstance(processor, SmcaImageProcessor)
    assert processor.class_loss == "softmax"
    assert processor.size == SmcaImageProcessor().size


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model folder at .*nowhere"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("part", PARTS)
def test_missing_part_is_named(copy: Path, part: str) -> None:
    (copy / part).unlink()
    with pytest.raises(ModelError, match=f"has no {part}$"):
        load(copy)


@pytest.mark.parametrize(
    ("part", "message"),
    [(PARTS[0], "is not valid JSON"), (PARTS[1], "cannot be loaded"), (PARTS[2], "is not valid JSON")],
)
def test_broken_part_is_one_line(copy: Path, part: str, message: str) -> None:
    (copy / part).write_text("{broken")
    with pytest.raises(ModelError, match=message) as caught:
        processor_of(load(copy))
    assert "\n" not in str(caught.value)


def test_unknown_model_type(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "nothing"}))
    with pytest.raises(ModelError, match="type 'nothing'; allowed: smca, smca-peer"):
        load(copy)


def test_lacking_weights_are_refused(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    weights.pop("class_head.weight" if "class_head.weight" in weights else sorted(weights)[0])
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="lacks 1 of the model's weights"):
        load(copy)


def test_weights_of_another_shape_are_refused(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    name = sorted(weights)[0]
    save_file(weights | {name: torch.zeros(3, 5, 7)}, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(copy)


def test_no_gpu_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device(None) == torch.device("cpu")
    with pytest.raises(DeviceError, match="no CUDA device"):
        pick_device("cuda")
