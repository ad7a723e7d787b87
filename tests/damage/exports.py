"""Exported files that are broken, lie about themselves or point elsewhere: ONNX and OpenVINO."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from smca.deployment.export import formats
from smca.deployment.export.formats import ExportFormat
from smca.deployment.export.graph import load_for_export, record, sides_of
from smca.inference.manifest import NAMES, PREFIX, Manifest
from smca.inference.model_folder import read_config, read_processor
from tests.damage.wrong import TEXT_DAMAGES, mutated

Ruin = Callable[[Path], object]
TEXTS = {
    "nothing": "",
    "a word": "x",
    "an object": "{}",
    "a list": "[]",
    "a number": "1e999",
    "nested": "[" * 100_000,
    "huge sizes": json.dumps(
        {"size": {"shortest_edge": 10**9, "longest_edge": 10**9}, "multiple": 10**9, "smallest": 1}
    ),
    "too many queries": json.dumps({"num_queries": 10**9, "d_model": 10**9}),
    "code": json.dumps({"auto_map": {"AutoConfig": "evil.Evil"}, "model_type": "evil"}),
    "a million names": json.dumps([str(i) for i in range(1_000_000)]),
    "numbers for names": "[1, 2, 3]",
    "one name": '["a"]',
}


def make(folder: Path, place: Path) -> dict[ExportFormat, Path]:
    """Export a model in both forms, from one graph."""
    place.mkdir(parents=True)
    files: dict[ExportFormat, Path] = {"onnx": place / "m.onnx", "openvino": place / "m.xml"}
    exact = load_for_export(folder)
    sides = sides_of(exact)
    manifest = Manifest(read_config(folder), read_processor(folder), "fp32", sides)
    formats._write_graph(record(exact, sides), place / "graph.onnx")
    formats._finish_onnx(place / "graph.onnx", files["onnx"], manifest)
    formats._finish_openvino(place / "graph.onnx", files["openvino"], manifest)
    return files


def damages(files: Mapping[ExportFormat, Path]) -> Iterator[tuple[str, Path, Ruin]]:
    """Name, the sound file, and what to do to a copy of it."""
    graph, xml = files["onnx"], files["openvino"]
    for name in NAMES:
        for title, text in TEXTS.items():
            yield f"ONNX: {name} is {title}", graph, partial(_say, name, text)
    for title, change in GRAPHS.items():
        yield f"ONNX with {title}", graph, partial(_regraph, change)
    for title, change in TEXT_DAMAGES.items():
        yield f"OpenVINO's .xml {title}", xml, partial(_change, ".xml", change)
    for suffix, file in ((".onnx", graph), (".xml", xml), (".bin", xml)):
        for part in (0.0, 0.5, 0.99):
            yield f"{suffix} cut at {part}", file, partial(_change, suffix, partial(_cut, part))
        for seed in range(12):
            yield (
                f"{suffix} changed, {seed}",
                file,
                partial(_change, suffix, partial(mutated, random.Random(seed), most=3)),
            )


def copied(file: Path, place: Path, ruin: Ruin) -> Path:
    """A damaged copy."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for part in file.parent.glob(f"{file.stem}.*"):
        shutil.copy(part, place)
    ruin(place / file.name)
    return place / file.name


def _cut(part: float, content: bytes) -> bytes:
    return content[: int(len(content) * part)]


def _change(suffix: str, change: Callable[[bytes], bytes], file: Path) -> None:
    part = file.with_suffix(suffix)
    part.write_bytes(change(part.read_bytes()))


def _say(name: str, text: str, file: Path) -> None:
    def change(model: Any) -> None:
        known = {entry.key: entry.value for entry in model.metadata_props}
        helper.set_model_props(model, {**known, PREFIX + name: text})

    _regraph(change, file)


def _regraph(change: Callable[[Any], object], file: Path) -> None:
    model = onnx.load(str(file))
    change(model)
    file.write_bytes(model.SerializeToString())


def _elsewhere(model: Any) -> None:
    """Weights in a file above the folder."""
    tensor = max(model.graph.initializer, key=lambda one: len(one.raw_data))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../../../../../../etc/passwd"), ("offset", "0"), ("length", "16")):
        tensor.external_data.add(key=key, value=value)


def _renamed(model: Any) -> None:
    model.graph.output[0].name = "other"


def _swapped(model: Any) -> None:
    """Boxes under the name of logits."""
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            node.output[index] = {"logits": "pred_boxes", "pred_boxes": "logits"}.get(name, name)


def _foreign(model: Any) -> None:
    model.graph.node[0].op_type, model.graph.node[0].domain = "Evil", "com.evil"


GRAPHS: dict[str, Callable[[Any], object]] = {
    "weights elsewhere": _elsewhere,
    "another name for its answer": _renamed,
    "its answers swapped": _swapped,
    "an operation of a stranger": _foreign,
    "an opset of the future": lambda model: setattr(model.opset_import[0], "version", 999),
    "no nodes": lambda model: model.graph.ClearField("node"),
    "no inputs": lambda model: model.graph.ClearField("input"),
    "no outputs": lambda model: model.graph.ClearField("output"),
    "no weights": lambda model: model.graph.ClearField("initializer"),
    "a weight of 2^60 values": lambda model: model.graph.initializer[0].dims.append(2**60),
}
