"""An exported file as a model: the same `predict`, the same preprocessing and post-processing, no folder.

    model = smca.load("m.onnx")                      also .xml (OpenVINO) and .pt2 (torch.export)

What a file cannot do says so in one line: explain, train, be compiled, be saved, or another precision than its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from smca.comparison.peers.model import by_size
from smca.detections import Detections
from smca.errors import ConfigurationError, DeviceError, ModelError
from smca.inference.manifest import Manifest, Sides
from smca.inference.runtimes import RUNTIMES, Runtime, open_runtime
from smca.inference.sources import ImageSource
from smca.modeling.outputs import SmcaObjectDetectionOutput


class ExportedModel(PreTrainedModel):
    """A detector without weights of its own: a runtime, and what the file says of itself."""

    main_input_name = "pixel_values"
    base_model_prefix = ""
    _supports_sdpa = True

    def __init__(self, file: Path, manifest: Manifest, runtime: Runtime) -> None:
        super().__init__(manifest.config)
        self.name_or_path = str(file)
        self.manifest = manifest
        self.runtime = runtime
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where inputs are wanted."""
        return self.runtime.device

    def forward(self, pixel_values: Tensor, pixel_mask: Tensor | None = None) -> SmcaObjectDetectionOutput:
        """Logits and boxes as those of the model that was exported."""
        sides = self.manifest.sides
        if not sides.one_size:
            logits, boxes = self._answer(pixel_values, pixel_mask)
            return SmcaObjectDetectionOutput(logits=logits, pred_boxes=boxes)
        groups = list(by_size(pixel_values, pixel_mask))
        order = torch.tensor([image for images, _ in groups for image in images]).argsort()
        found = [self._answer(pixels, None) for _, pixels in groups]
        logits, boxes = (torch.cat(parts)[order] for parts in zip(*found, strict=True))
        return SmcaObjectDetectionOutput(logits=logits, pred_boxes=boxes)

    def _answer(self, pixels: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """What the runtime says; ModelError where the graph fails or answers otherwise than a detector does."""
        try:
            logits, boxes = self.runtime(*fitted(pixels, mask, self.manifest.sides))
        except Exception as error:
            raise ModelError(f"{self.name_or_path} fails on an image: {' '.join(str(error).split())[:300]}") from error
        wanted = (len(pixels), logits.shape[1] if logits.ndim == 3 else 1)
        shapes = tuple(logits.shape), tuple(boxes.shape)
        classes = self.manifest.config.class_outputs
        if shapes != ((*wanted, classes), (*wanted, 4)) or not (
            logits.is_floating_point() and boxes.is_floating_point()
        ):
            raise ModelError(
                f"{self.name_or_path} answers {shapes[0]} and {shapes[1]}; allowed: {classes} classes, boxes"
            )
        return logits, boxes

    def predict(
        self, images: Sequence[ImageSource], threshold: float | None = None, tile: int | bool = False
    ) -> list[Detections]:
        """As `SmcaForObjectDetection.predict`."""
        from smca.inference.predict import predict_with

        return predict_with(self, images, threshold, tile)

    def explain(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: the file holds no attention to show."""
        raise ModelError(
            f"{self.name_or_path} is an exported file, which tells nothing of attention: explain its model"
        )

    def train(self, mode: bool = True) -> ExportedModel:
        if mode:
            raise ModelError(f"{self.name_or_path} is an exported file, which cannot be trained: train its model")
        return super().train(mode)

    def save_pretrained(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: the file is all there is."""
        raise ModelError(f"{self.name_or_path} is an exported file: copy it, or save its model")


def is_exported(path: str | Path) -> bool:
    """Whether a MODEL's name is that of an exported file rather than a folder."""
    return Path(path).suffix in RUNTIMES and not Path(path).is_dir()


def manifest_of(file: Path) -> Manifest:
    """What an exported file says of itself."""
    return Manifest.from_texts(open_runtime(file, "cpu").texts, file)


def load_exported(file: Path, device: str | None, precision: str, compile: bool) -> ExportedModel:
    """Open a file of `smca export`."""
    if compile:
        raise ConfigurationError(f"--compile: {file} is an exported file, which its runtime compiles by itself")
    runtime = open_runtime(file, device)
    manifest = Manifest.from_texts(runtime.texts, file)
    if precision not in ("fp32", manifest.precision):
        raise DeviceError(f"precision {precision}: {file} was exported in {manifest.precision}; export it again")
    return ExportedModel(file, manifest, runtime)


def fitted(pixels: Tensor, mask: Tensor | None, sides: Sides) -> tuple[Tensor, Tensor]:
    """Images and their mask, padded at the right and bottom as the graph wants them."""
    height, width = pixels.shape[-2:]
    fill = (0, _wanted(width, sides) - width, 0, _wanted(height, sides) - height)
    if mask is None:
        mask = torch.ones(len(pixels), height, width, dtype=torch.long, device=pixels.device)
    return F.pad(pixels, fill).contiguous(), F.pad(mask.long(), fill).contiguous()


def _wanted(side: int, sides: Sides) -> int:
    side = max(side, sides.smallest)
    return side + -side % sides.multiple
