"""From a model folder to a file that answers as the model does, or to no file at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch.export import ExportedProgram

import smca
from smca.data.scenes import make_scenes
from smca.deployment.export import command, formats
from smca.deployment.export.command import Evidence, export_model
from smca.deployment.export.formats import SUFFIXES, ExportFormat
from smca.deployment.export.graph import load_for_export, record, sides_of
from smca.errors import ConfigurationError, DataError, DeviceError, ModelError, OutputError
from smca.evaluation.command import evaluate_model
from smca.inference.command import predict_files
from smca.inference.manifest import ExportPrecision
from smca.sizes import ImageSize
from smca.training.info import describe
from tests.deployment.export.models import save_model
from tests.modeling.independence import assert_independent

door: Any = smca


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def recorded(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ExportedProgram, Path]:
    """The model's graph, and its ONNX form: the two steps that take long."""
    model = load_for_export(folder)
    program = record(model, sides_of(model))
    graph = tmp_path_factory.mktemp("graph") / "graph.onnx"
    formats._write_graph(program, graph)
    return program, graph


@pytest.fixture
def once(recorded: tuple[ExportedProgram, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Record and convert once for all tests."""
    monkeypatch.setattr(command, "record", lambda *_: recorded[0])
    monkeypatch.setattr(formats, "_write_graph", lambda _, file: shutil.copy(recorded[1], file))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of several sizes and kinds, one of them 5000 x 20 pixels."""
    place = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    for name, shape in (
        ("a.png", (90, 130, 3)),
        ("b.png", (200, 64)),
        ("c.png", (70, 70, 4)),
        ("d.png", (20, 5000, 3)),
    ):
        Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8)).save(place / name)
    return place


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Path:
    """Generated scenes whose boxes are what the model finds, so that its AP is far from zero."""
    place = make_scenes(tmp_path_factory.mktemp("data") / "d", images=8, val_images=4, size=ImageSize(96, 128))
    model = door.load(folder, "cpu")
    for split in ("train", "val"):
        content = json.loads((place / f"{split}.json").read_text())
        content["categories"] = [{"id": i, "name": name} for i, name in model.config.id2label.items()]
        content["annotations"] = []
        for image in content["images"]:
            for box, label in _best(model, place / "images" / image["file_name"]):
                x1, y1, x2, y2 = box.tolist()
                shape = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
                number = len(content["annotations"])
                content["annotations"].append({"id": number, "image_id": image["id"], "category_id": label, **shape})
        (place / f"{split}.json").write_text(json.dumps(content))
    return place


def _best(model: Any, image: Path) -> list[tuple[np.ndarray, int]]:
    (found,) = model.predict([image], 0.0)
    return [(found.boxes[i], int(found.labels[i])) for i in range(4)]


@pytest.mark.slow
@pytest.mark.usefixtures("once")
@pytest.mark.parametrize(
    ("format", "precision"), [("onnx", "fp32"), ("openvino", "fp32"), ("torch", "fp32"), ("onnx", "int8")]
)
def test_a_file_answers_as_its_model(
    format: ExportFormat, precision: ExportPrecision, folder: Path, photos: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / f"m{SUFFIXES[format]}"
    report = export_model(folder, format, out, precision, Evidence(data=data, max_ap_loss=0.2))
    assert sorted(out.parent.iterdir()) == sorted({out, out.with_suffix(".bin")} if format == "openvino" else {out})
    assert report.ap_before is not None
    assert report.ap_before > 0.3
    alone = Path(shutil.copytree(out.parent, tmp_path / "alone")) / out.name
    model, file = door.load(folder, "cpu"), door.load(alone, "cpu")
    assert file.config.id2label == model.config.id2label
    for ours, theirs in zip(model.predict([photos / "a.png"], 0.0), file.predict([photos / "a.png"], 0.0), strict=True):
        assert len(ours) == len(theirs)
        if precision == "fp32":
            assert ours.names == theirs.names
            np.testing.assert_allclose(theirs.boxes, ours.boxes, rtol=1e-3, atol=1e-2)
    if precision == "fp32":
        assert_independent(file, examples=15)
    assert evaluate_model(file, data, workers=0)["AP"] == pytest.approx(report.ap_after)
    entries = predict_files(alone, [photos], tmp_path / "out", threshold=0, batch=3)
    assert (entries.images, entries.unreadable) == (4, ())
    assert describe(str(alone))["parameters_total"] == describe(str(folder))["parameters_total"]
    for text in (str(Path(smca.__file__).parent), str(folder)):
        assert text.encode() not in out.read_bytes()


@pytest.mark.slow
@pytest.mark.usefixtures("once")
def test_refused_and_nothing_left_behind(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(command.LIMITS, "score", -1.0)
    out = tmp_path / "m.onnx"
    out.write_text("an older file")
    with pytest.raises(ModelError, match=r"refused, nothing written: the onnx file differs"):
        export_model(folder, "onnx", out)
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
    assert out.read_text() == "an older file"


@pytest.mark.slow
@pytest.mark.usefixtures("once")
def test_refused_beyond_the_loss_of_ap(
    folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter([0.5, 0.49])
    monkeypatch.setattr(command, "evaluate_model", lambda *_, **__: {"AP": next(numbers)})
    with pytest.raises(ModelError, match=r"AP falls from 0.5000 to 0.4900; allowed: a loss of 0.005"):
        export_model(folder, "onnx", tmp_path / "m.onnx", evidence=Evidence(data=data))
    assert list(tmp_path.iterdir()) == []


def test_options_that_do_not_fit(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases: list[tuple[ExportFormat, str, ExportPrecision, Evidence, str]] = [
        ("onnx", "m.onnx", "bf16", Evidence(), r"bf16; allowed with --format onnx: fp32, int8"),
        ("torch", "m.pt2", "int8", Evidence(), r"int8; allowed with --format torch: fp32, bf16"),
        ("torch", "m.onnx", "fp32", Evidence(), r"a name that ends in \.pt2"),
        ("onnx", "m.onnx", "int8", Evidence(), r"int8 needs --data"),
        ("torch", "m.pt2", "fp32", Evidence(max_ap_loss=0.1), r"--max-ap-loss needs --data"),
    ]
    for format, name, precision, evidence, message in cases:
        with pytest.raises(ConfigurationError, match=message):
            export_model(folder, format, tmp_path / name, precision, evidence)
    monkeypatch.setattr(command, "cpu_has_bfloat16", lambda: False)
    with pytest.raises(DeviceError, match="no bfloat16 arithmetic to verify"):
        export_model(folder, "torch", tmp_path / "m.pt2", "bf16")
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_is_said_before_the_work(folder: Path, tmp_path: Path, photos: Path) -> None:
    with pytest.raises(DataError, match="no file or folder"):
        export_model(folder, "torch", tmp_path / "m.pt2", evidence=Evidence(images=[tmp_path / "nowhere"]))
    with pytest.raises(DataError):
        export_model(folder, "torch", tmp_path / "m.pt2", evidence=Evidence(data=tmp_path / "nowhere"))
    with pytest.raises(ModelError, match="no model folder"):
        export_model(tmp_path / "nowhere", "torch", tmp_path / "m.pt2")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        export_model(folder, "torch", tmp_path / "file" / "m.pt2", evidence=Evidence(images=[photos]))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
