"""A model folder -> the graph that all formats are written from: torch.export's program with symbolic sizes.

    pixel_values [B, 3, H, W] float32, pixel_mask [B, H, W] int64 (1 = image)
        -> logits [B, N, K], pred_boxes [B, N, 4] (cx, cy, w, h) relative to the unpadded image

B, H and W are any numbers, H and W as `Sides` says: from `smallest` on, since torch fixes what a map of one cell does,
and multiples of `multiple` (1 but for backbones with TensorFlow's 'SAME' padding). The graph always heeds the mask.
Norms are folded into convolutions; the fused blocks, which call oneDNN, are not in it.
Raises ModelError for what is not a model of type smca.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule
from torch.fx.experimental import _config as shapes

from smca.deployment.export.fixed_padding import with_fixed_padding
from smca.errors import ModelError
from smca.inference.exported import ExportedModel
from smca.inference.loading import load
from smca.inference.manifest import ExportPrecision, Sides
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.norm_folding import folded

EXAMPLE = (4, 6)  # height and width of the images that the graph is recorded with, in cells of the coarsest level


class Graph(nn.Module):
    """The model as a function of two tensors that returns two tensors."""

    def __init__(self, model: SmcaForObjectDetection) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor, pixel_mask: Tensor) -> tuple[Tensor, Tensor]:
        output = self.model(pixel_values=pixel_values, pixel_mask=pixel_mask)
        return output.logits, output.pred_boxes


def load_for_export(folder: Path, precision: ExportPrecision = "fp32") -> SmcaForObjectDetection:
    """The model of a folder as plain operations, norms folded; its backbone in bfloat16 if that is the precision."""
    model = load(folder, "cpu")
    if isinstance(model, ExportedModel):
        raise ModelError(f"{folder} is an exported file already; allowed: a model folder")
    if not isinstance(model, SmcaForObjectDetection):
        kind = getattr(model.config, "peer", model.config.model_type)
        reason = "whose library takes batch or image sizes for constants, or picks candidates by what it finds"
        raise ModelError(
            f"{folder} is a '{kind}', {reason}, and has no graph for images of any size; allowed: smca, detr"
        )
    backbone = model.backbone
    backbone.inference = None
    backbone.body = with_fixed_padding(folded(backbone.body, (backbone.guard,)))
    if precision == "bf16":
        backbone.to(torch.bfloat16)
    return model.requires_grad_(False)


def sides_of(model: SmcaForObjectDetection) -> Sides:
    """What the graph of a model will ask of images."""
    multiple, smallest = model.backbone.multiple, _coarsest(model) + 1
    return Sides(multiple, smallest + -smallest % multiple, model.backbone.one_by_one)


def record(model: SmcaForObjectDetection, sides: Sides) -> ExportedProgram:
    """Run the model on images without content and keep what it does."""
    model.backbone.one_by_one = False  # the runtime sees to it
    batch, height, width = Dim("batch", min=1), _side("height", sides), _side("width", sides)
    dynamic = ({0: batch, 2: height, 3: width}, {0: batch, 1: height, 2: width})
    try:
        with quiet(), _symbolic():
            program = torch.export.export(Graph(model), _example(model), dynamic_shapes=dynamic)
    except Exception as error:
        raise ModelError(f"torch.export cannot record this model: {' '.join(str(error).split())[:300]}") from error
    for part in program.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, GraphModule) else ():
            node.meta.pop("stack_trace", None)  # it has paths of this machine
    program.example_inputs = None
    return program


def _side(name: str, sides: Sides) -> Any:
    """A length that is any multiple; torch derives dimensions by arithmetic on them."""
    if sides.multiple == 1:
        return Dim(name, min=sides.smallest)
    return sides.multiple * Dim(f"{name}_in_{sides.multiple}", min=sides.smallest // sides.multiple)


def _example(model: SmcaForObjectDetection) -> tuple[Tensor, Tensor]:
    """Two images of different sizes, so that nothing takes one for all."""
    height, width = (count * _coarsest(model) for count in EXAMPLE)
    mask = torch.ones(2, height, width, dtype=torch.long)
    mask[1, height // 2 :] = 0
    return torch.zeros(2, 3, height, width), mask


def _coarsest(model: SmcaForObjectDetection) -> int:
    return max(level.stride for level in model.input_projection.levels)


@contextmanager
def _symbolic() -> Iterator[None]:
    """No gradients, and no case made of sizes 0 and 1; without oneDNN, which makes a case of one image."""
    with (
        torch.no_grad(),
        torch.backends.mkldnn.flags(enabled=False),
        cast(Any, shapes).patch(backed_size_oblivious=True),
    ):
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Keep torch's and onnxscript's notes on their own work from the terminal; errors are raised, not logged."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
