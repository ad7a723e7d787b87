"""Eight-bit integers by post-training quantisation: ranges of activations are measured on images, nothing is trained.

Quantised are the convolutions of the backbone and projections and the encoder's linear layers, weights a channel at a
time. Attention, log G, softmax, norms, the decoder and the heads stay in float: a box is as fine as its head's digits.
Source: onnxruntime's static quantisation (QDQ nodes, which OpenVINO reads too).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from smca.deployment.export.graph import quiet
from smca.inference.exported import fitted
from smca.inference.loading import Processor
from smca.inference.manifest import Sides
from smca.inference.runtimes import package
from smca.inference.sources import read_image

CALIBRATION_IMAGES = 32
SCOPES = {"Conv": ("backbone", "input_projection", "encoder"), "MatMul": ("encoder",)}
SCOPE = "pkg.torch.onnx.name_scopes"


def quantize(graph: Path, out: Path, paths: Sequence[Path], processor: Processor, sides: Sides) -> None:
    """Write the int8 form of a float .onnx; ranges from the images at `paths`."""
    onnx = package("onnx", "export")
    quantization = package("onnxruntime.quantization", "export")
    with quiet():
        quantization.quantize_static(
            str(graph),
            str(out),
            Images(paths, processor, sides),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(SCOPES),
            nodes_to_quantize=chosen(onnx.load(str(graph), load_external_data=False)),
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            activation_type=quantization.QuantType.QUInt8,
        )


def chosen(model: Any) -> list[str]:
    """Names of the nodes to quantise, by the module they come from; of products only those with a constant factor."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type in SCOPES and node.input[1] in constants and _part(node) in SCOPES[node.op_type]
    ]


def _part(node: Any) -> str:
    """The part of the detector that a node belongs to ("backbone")."""
    scopes = next((each.value for each in node.metadata_props if each.key == SCOPE), "")
    return scopes.partition("'model.")[2].split("'")[0].split(".")[0]


class Images:
    """onnxruntime's CalibrationDataReader, without its base class: one image after the other, then None."""

    def __init__(self, paths: Sequence[Path], processor: Processor, sides: Sides) -> None:
        self._inputs = self._read(paths, processor, sides)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next image's inputs."""
        return next(self._inputs, None)

    @staticmethod
    def _read(paths: Sequence[Path], processor: Processor, sides: Sides) -> Iterator[dict[str, np.ndarray]]:
        for path in paths:
            inputs = processor(images=[read_image(path)], input_data_format="channels_first", return_tensors="pt")
            pixels, mask = fitted(inputs["pixel_values"], inputs["pixel_mask"], sides)
            yield {"pixel_values": pixels.numpy(), "pixel_mask": mask.numpy()}
