"""The programs that run an exported file: onnxruntime, OpenVINO, and torch without this project's model code.

Each opens a file, tells the texts it carries (manifest.py), and computes (logits [B, N, K], boxes [B, N, 4]) of float32
pixels [B, 3, H, W] and a mask int64 [B, H, W]. Opening .onnx and .xml runs no code of theirs. Opening a .pt2 may: torch
reads parts of it as pickles and as expressions, so open only those you trust.
Raises ModelError for files that cannot be read, ConfigurationError where a package lacks, DeviceError.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from smca import telemetry
from smca.errors import ConfigurationError, DeviceError, ModelError
from smca.inference.manifest import NAMES, PREFIX

EXTRA_FILE = "smca.json"
CPU = torch.device("cpu")


class Runtime(Protocol):
    """An open file."""

    @property
    def texts(self) -> Mapping[str, str]:
        """What it says of itself."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it wants its inputs."""
        ...

    def __call__(self, pixels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and boxes."""
        ...


class OnnxRuntime:
    """A .onnx in onnxruntime, on its CPU or CUDA provider; inputs are on the CPU either way."""

    def __init__(self, file: Path, device: str | None) -> None:
        runtime = package("onnxruntime", "export")
        has_cuda = "CUDAExecutionProvider" in runtime.get_available_providers()
        if device == "cuda" and not has_cuda:
            raise DeviceError("this onnxruntime has no CUDA (package onnxruntime-gpu has); allowed here: cpu")
        providers = ["CUDAExecutionProvider"] * (has_cuda and device != "cpu") + ["CPUExecutionProvider"]
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = runtime.InferenceSession(str(file), options, providers=providers)
        self.texts = self._session.get_modelmeta().custom_metadata_map
        self.device = CPU

    def __call__(self, pixels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        inputs = {"pixel_values": pixels.numpy(), "pixel_mask": mask.numpy()}
        logits, boxes = self._session.run(["logits", "pred_boxes"], inputs)
        return torch.from_numpy(logits), torch.from_numpy(boxes)


class OpenVino:
    """A .xml and the .bin beside it, on the CPU; what is not int8 in it is computed in float32."""

    def __init__(self, file: Path, device: str | None) -> None:
        if device == "cuda":
            raise DeviceError(f"{file} runs on OpenVINO, which has no CUDA; allowed: cpu")
        if not file.with_suffix(".bin").is_file():
            raise ModelError(f"{file} lacks its weights: no {file.with_suffix('.bin').name} beside it")
        core = package("openvino", "openvino").Core()
        model = core.read_model(str(file))
        known = [name for name in NAMES if model.has_rt_info(["smca", name])]
        self.texts = {PREFIX + name: str(model.get_rt_info(["smca", name]).value) for name in known}
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        self._compiled = core.compile_model(model, "CPU", options)
        self.device = CPU

    def __call__(self, pixels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        found = self._compiled({"pixel_values": pixels.numpy(), "pixel_mask": mask.numpy()})
        logits, boxes = (torch.from_numpy(found[name].copy()) for name in ("logits", "pred_boxes"))
        return logits, boxes


class TorchProgram:
    """A .pt2 of torch.export, on the CPU or CUDA."""

    def __init__(self, file: Path, device: str | None) -> None:
        has_cuda = torch.cuda.is_available()
        if device == "cuda" and not has_cuda:
            raise DeviceError("no CUDA device found; allowed here: cpu")
        self.device = torch.device(device or ("cuda" if has_cuda else "cpu"))
        extra = {EXTRA_FILE: ""}
        log = logging.getLogger("torch.export.pt2_archive._package")
        level = log.level
        log.setLevel(logging.ERROR)
        try:
            program = torch.export.load(file, extra_files=extra)
        finally:
            log.setLevel(level)
        texts = json.loads(extra[EXTRA_FILE] or "{}")
        self.texts = {str(name): str(value) for name, value in texts.items()}
        if self.device.type != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, self.device)
        self._module = program.module(check_guards=False)  # their only news: a batch of one is another case to oneDNN

    @torch.no_grad()
    def __call__(self, pixels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return self._module(pixels, mask)


RUNTIMES: dict[str, Callable[[Path, str | None], Runtime]] = {
    ".onnx": OnnxRuntime,
    ".xml": OpenVino,
    ".pt2": TorchProgram,
}


def open_runtime(file: Path, device: str | None) -> Runtime:
    """Open an exported file, whose suffix is one of RUNTIMES."""
    if not file.is_file():
        raise ModelError(f"there is no exported file {file}")
    try:
        return RUNTIMES[file.suffix](file, device)
    except (ModelError, ConfigurationError, DeviceError):
        raise
    except Exception as error:
        raise ModelError(f"{file} cannot be opened: {' '.join(str(error).split())[:300]}") from error


def package(name: str, extra: str) -> Any:
    """Import a package that an extra of this project brings, its telemetry off."""
    import importlib

    telemetry.switch_off()
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigurationError(f"{name} is not installed: pip install 'smca-detr[{extra}]'") from error
