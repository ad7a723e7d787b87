"""The graph -> a file of each format, with the manifest inside; which precisions a format has, and why.

    onnx      fp32, int8    onnxruntime's CPU has no bfloat16 convolutions
    openvino  fp32, int8    its bfloat16 rounds log G and all else too: AP fell by 2.9 points on blood cells
    torch     fp32, bf16    bf16: the backbone in bfloat16, the rest in float32, as transformers loads the model

OpenVINO's file is made from the ONNX graph: its own reading of torch.export's program came out wrong (docs/export.md).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch.export import ExportedProgram

from smca.deployment.export.graph import quiet
from smca.errors import ConfigurationError
from smca.inference.manifest import PREFIX, ExportPrecision, Manifest
from smca.inference.runtimes import EXTRA_FILE, package

ExportFormat = Literal["onnx", "openvino", "torch"]
SUFFIXES: dict[ExportFormat, str] = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}
PRECISIONS: dict[ExportFormat, tuple[ExportPrecision, ...]] = {
    "onnx": ("fp32", "int8"),
    "openvino": ("fp32", "int8"),
    "torch": ("fp32", "bf16"),
}
OPSET = 18
INPUTS = ("pixel_values", "pixel_mask")
OUTPUTS = ("logits", "pred_boxes")
AXES = {
    "pixel_values": ("batch", None, "height", "width"),
    "pixel_mask": ("batch", "height", "width"),
    "logits": ("batch", None, None),
    "pred_boxes": ("batch", None, None),
}
Quantize = Callable[[Path, Path], None]  # a float .onnx -> an int8 .onnx


def check(format: ExportFormat, precision: ExportPrecision) -> None:
    """ConfigurationError for a precision that the format does not have, or a package that lacks."""
    if precision not in PRECISIONS[format]:
        raise ConfigurationError(
            f"--precision is {precision}; allowed with --format {format}: {', '.join(PRECISIONS[format])}"
        )
    if format != "torch":
        for name in ("onnx", "onnxscript", "onnxruntime"):
            package(name, "export")
    if format == "openvino":
        package("openvino", "openvino")


def write(
    program: ExportedProgram, file: Path, format: ExportFormat, manifest: Manifest, quantize: Quantize | None
) -> None:
    """Write `file` (of OpenVINO the .bin beside it too); `quantize` makes it int8."""
    if format == "torch":
        torch.export.save(program, file, extra_files={EXTRA_FILE: json.dumps(manifest.to_texts())})
        return
    graph = file.with_name("graph.onnx")
    _write_graph(program, graph)
    if quantize is not None:
        quantize(graph, graph.with_name("int8.onnx"))
        graph = graph.with_name("int8.onnx")
    (_finish_onnx if format == "onnx" else _finish_openvino)(graph, file, manifest)


def _write_graph(program: ExportedProgram, file: Path) -> None:
    with quiet():
        made = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=INPUTS,
            output_names=OUTPUTS,
            verbose=False,
        )
    cast(torch.onnx.ONNXProgram, made).save(str(file), external_data=False)  # not None, as dynamo=True promises


def _finish_onnx(graph: Path, file: Path, manifest: Manifest) -> None:
    """Name the axes, leave out what names this machine or repeats, and add the manifest."""
    onnx = package("onnx", "export")
    model = onnx.load(str(graph))
    for node in [*model.graph.node, *(node for function in model.functions for node in function.node)]:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    model.graph.ClearField("value_info")
    for value in (*model.graph.input, *model.graph.output):
        for axis, name in zip(value.type.tensor_type.shape.dim, AXES[value.name], strict=True):
            if name is not None:
                axis.dim_param = name
    onnx.helper.set_model_props(model, manifest.to_texts())
    onnx.checker.check_model(model)
    onnx.save(model, str(file))


def _finish_openvino(graph: Path, file: Path, manifest: Manifest) -> None:
    runtime: Any = package("openvino", "openvino")
    model = runtime.Core().read_model(str(graph))
    for name, text in manifest.to_texts().items():
        model.set_rt_info(text, ["smca", name.removeprefix(PREFIX)])
    runtime.save_model(model, str(file), compress_to_fp16=False)
