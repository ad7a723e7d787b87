"""A model folder or an exported file -> a model ready to predict, and the image processor that belongs to a model.

A model folder is transformers' own: `config.json`, `model.safetensors`, `preprocessor_config.json`. Nothing is fetched
from a network, and nothing in the folder is run (model_folder.py). What is trained and saved stays as it is, but a
loaded model looks at images the fast way (`prepare_for_inference`). A file of `smca export` (.onnx, .xml, .pt2) answers
the same; open a .pt2 only if you trust it (runtimes.py). Raises ModelError for what is neither or does not hold all of
the model's weights, and DeviceError for a device or a precision that is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from transformers import BatchFeature, PreTrainedModel

from smca.comparison.peers.configuration import PeerConfig
from smca.comparison.peers.registration import PeerForObjectDetection
from smca.errors import DeviceError, ModelError
from smca.inference.exported import ExportedModel, is_exported, load_exported
from smca.inference.model_folder import PARTS, complete_folder, read_config, read_processor
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.image_processing import SmcaImageProcessor
from smca.modeling.precision import has_bfloat16

Precision = Literal["fp32", "bf16"]


class Processor(Protocol):
    """The image processor of a detector, as transformers makes them."""

    def __call__(self, *, images: Sequence[Tensor], return_tensors: str, **options: Any) -> BatchFeature:
        """Pictures -> "pixel_values" and "pixel_mask"."""
        ...

    def post_process_object_detection(
        self, outputs: Any, threshold: float, target_sizes: list[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        """Outputs of the model -> "scores", "labels" and "boxes" of each image."""
        ...


def load(
    folder: str | Path, device: str | None = None, precision: Precision = "fp32", compile: bool = False
) -> PreTrainedModel:
    """Return a folder's or an exported file's model in evaluation mode on `device` ("cpu", "cuda"; default: the best).

    precision: of predictions; "bf16" is faster where the hardware has it, and rounds scores and boxes.
    compile: run as compiled code, which takes minutes to make.
    """
    if is_exported(folder):
        return load_exported(Path(folder), device, precision, compile)
    place = pick_device(device)
    if precision == "bf16" and not has_bfloat16(place):
        raise DeviceError(f"precision bf16: this {place.type} has no bfloat16 arithmetic; allowed here: fp32")
    path = complete_folder(folder)
    model = _with_weights(path)
    if isinstance(model, SmcaForObjectDetection):
        model.prepare_for_inference(torch.bfloat16 if precision == "bf16" else None)
    elif precision == "bf16":
        raise DeviceError(f"precision bf16: {path} is a peer, which computes as its library does; allowed: fp32")
    if compile and isinstance(model, SmcaForObjectDetection | PeerForObjectDetection):
        model.compile_for_any_size()
    return model.to(place).eval()


def _with_weights(path: Path) -> Any:
    """The model of a folder, all its weights from its file."""
    config = read_config(path)
    kind: Any = PeerForObjectDetection if isinstance(config, PeerConfig) else SmcaForObjectDetection
    options = {"dtype": torch.float32, "local_files_only": True, "use_safetensors": True}
    try:
        model, report = kind.from_pretrained(path, config=config, output_loading_info=True, **options)
    except Exception as error:
        raise ModelError(f"{path} cannot be loaded as a model: {_one_line(error)}") from error
    lacking = sorted(report["missing_keys"])
    if lacking:
        raise ModelError(f"{path}/model.safetensors lacks {len(lacking)} of the model's weights, first {lacking[0]}")
    return model


def processor_of(model: PreTrainedModel) -> Processor:
    """Return the processor saved beside the model, or the paper's settings for a model that has no folder."""
    if isinstance(model, ExportedModel):
        return model.manifest.processor
    folder = Path(model.name_or_path or "")
    return read_processor(folder) if (folder / PARTS[2]).is_file() else SmcaImageProcessor.suited_to(model.config)


def class_names(model: PreTrainedModel) -> tuple[str, ...]:
    """Return the names of the classes 0..K-1 that the model knows."""
    names = {int(label): name for label, name in (model.config.id2label or {}).items()}
    return tuple(names[label] for label in range(len(names)))


def pick_device(name: str | None) -> torch.device:
    """Return the device asked for, or the best there is when `name` is None."""
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("no CUDA device found; allowed here: cpu")
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
