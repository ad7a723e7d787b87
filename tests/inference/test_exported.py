"""An exported file as a model: what its runtime is given, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from smca.errors import ConfigurationError, DeviceError, ModelError
from smca.inference import exported
from smca.inference.exported import ExportedModel, fitted, load_exported
from smca.inference.loading import load, processor_of
from smca.inference.manifest import Manifest, Sides
from smca.modeling.configuration import SmcaConfig
from smca.modeling.detector import SmcaForObjectDetection


class InMemory:
    """A runtime that runs the model itself and notes what it was given."""

    device = torch.device("cpu")

    def __init__(self, model: SmcaForObjectDetection, texts: dict[str, str]) -> None:
        self.model = model
        self.texts = texts
        self.given: list[tuple[int, ...]] = []

    @torch.no_grad()
    def __call__(self, pixels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        self.given.append(tuple(pixels.shape))
        output = self.model(pixel_values=pixels, pixel_mask=mask)
        return output.logits, output.pred_boxes


def opened(model: SmcaForObjectDetection, folder: Path, sides: Sides) -> tuple[ExportedModel, InMemory]:
    loaded = load(folder, "cpu")
    processor: Any = processor_of(loaded)
    manifest = Manifest(cast(SmcaConfig, model.config), processor, "fp32", sides)
    runtime = InMemory(model, manifest.to_texts())
    return ExportedModel(Path("m.onnx"), Manifest.from_texts(runtime.texts, "m.onnx"), runtime), runtime


@pytest.mark.parametrize("sides", [Sides(), Sides(32, 128), Sides(1, 1, one_size=True)])
def test_predicts_what_the_model_predicts(
    sides: Sides, model: SmcaForObjectDetection, model_folder: Path, pictures: list[np.ndarray]
) -> None:
    file, runtime = opened(model, model_folder, sides)
    wanted = cast(SmcaForObjectDetection, load(model_folder, "cpu")).predict(pictures, 0.0)
    for ours, theirs in zip(wanted, file.predict(pictures, 0.0), strict=True):
        assert ours.names == theirs.names
        np.testing.assert_allclose(theirs.boxes, ours.boxes, atol=1e-2)
        np.testing.assert_allclose(theirs.scores, ours.scores, atol=1e-4)
    for shape in runtime.given:
        assert min(shape[2:]) >= sides.smallest
        assert all(side % sides.multiple == 0 for side in shape[2:])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((torch.zeros(1, 12, 3), torch.zeros(1, 12, 5)), "answers"),
        ((torch.zeros(1, 12, 7), torch.zeros(1, 12, 4)), "allowed: 3 classes"),
        ((torch.zeros(12, 3), torch.zeros(12, 4)), "answers"),
        ((torch.zeros(1, 12, 3, dtype=torch.int64), torch.zeros(1, 12, 4)), "answers"),
        (RuntimeError("Non-zero\nstatus"), "fails on an image: Non-zero status"),
    ],
)
def test_a_graph_that_is_no_detector_is_one_line(
    answer: tuple[Tensor, Tensor] | Exception, said: str, model: SmcaForObjectDetection, model_folder: Path
) -> None:
    class Foreign(InMemory):
        def __call__(self, pixels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
            if isinstance(answer, Exception):
                raise answer
            return answer

    file, runtime = opened(model, model_folder, Sides())
    file.runtime = Foreign(model, runtime.texts)
    with pytest.raises(ModelError, match=said) as caught:
        file.predict([np.zeros((40, 50, 3), np.uint8)], 0.0)
    assert "\n" not in str(caught.value)


def test_images_of_one_size_go_together(model: SmcaForObjectDetection, model_folder: Path) -> None:
    file, runtime = opened(model, model_folder, Sides(1, 1, one_size=True))
    pixels, mask = torch.randn(3, 3, 64, 96), torch.ones(3, 64, 96, dtype=torch.long)
    mask[1, :, 40:] = 0
    found = file(pixels, mask)
    assert runtime.given == [(2, 3, 64, 96), (1, 3, 64, 40)]
    with torch.no_grad():
        torch.testing.assert_close(found.logits, model(pixels, mask).logits, rtol=1e-4, atol=1e-5)


@given(
    height=st.integers(1, 90), width=st.integers(1, 90), multiple=st.sampled_from([1, 8, 32]), least=st.integers(1, 99)
)
def test_images_are_padded_to_what_the_graph_takes(height: int, width: int, multiple: int, least: int) -> None:
    pixels, mask = fitted(torch.ones(1, 3, height, width), None, Sides(multiple, least))
    assert pixels.shape[2:] == mask.shape[1:]
    assert all(side % multiple == 0 and side >= least for side in mask.shape[1:])
    assert all(side < max(least, own) + multiple for side, own in zip(mask.shape[1:], (height, width), strict=True))
    assert int(mask.sum()) == height * width == int(mask[:, :height, :width].sum())
    assert float(pixels.sum()) == 3 * height * width


def test_what_a_file_cannot_do_is_one_line(model: SmcaForObjectDetection, model_folder: Path, tmp_path: Path) -> None:
    file, _ = opened(model, model_folder, Sides())
    with pytest.raises(ModelError, match="explain its model"):
        file.explain("a.jpg")
    with pytest.raises(ModelError, match="train its model"):
        file.train()
    with pytest.raises(ModelError, match="copy it"):
        file.save_pretrained(tmp_path)


def test_options_that_files_do_not_have(
    model: SmcaForObjectDetection, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, runtime = opened(model, model_folder, Sides())
    monkeypatch.setattr(exported, "open_runtime", lambda *_: runtime)
    assert load("m.onnx", precision="fp32").config.id2label == model.config.id2label
    with pytest.raises(DeviceError, match=r"bf16: m.onnx was exported in fp32"):
        load_exported(Path("m.onnx"), None, "bf16", compile=False)
    with pytest.raises(ConfigurationError, match=r"--compile: m.onnx is an exported file"):
        load("m.onnx", compile=True)


@pytest.mark.parametrize("name", ["m.onnx", "m.xml", "m.pt2"])
def test_no_file_and_broken_files(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"there is no exported file .*{name}"):
        load(tmp_path / name)
    (tmp_path / name).write_bytes(b"nothing of the kind")
    (tmp_path / "m.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=f"{name} cannot be opened") as caught:
        load(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_openvino_without_its_weights(tmp_path: Path) -> None:
    (tmp_path / "m.xml").write_text("<net/>")
    with pytest.raises(ModelError, match=r"no m\.bin beside it"):
        load(tmp_path / "m.xml")


def test_a_graph_of_somebody_else(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", values[:1], values[1:])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)]), tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="was not written by `smca export`"):
        load(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("m.onnx", "onnxruntime", "export"), ("m.xml", "openvino", "openvino")]
)
def test_a_missing_package_is_named(
    name: str, package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in (name, "m.bin"):
        (tmp_path / file).write_text("")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError, match=rf"{package} is not installed: pip install 'smca-detr\[{extra}\]'"):
        load(tmp_path / name)
