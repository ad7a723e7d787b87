"""A file of weights -> tensors by name, and the arguments that a training script stored beside them.

Reads safetensors and what `torch.save` wrote: a state dict, or {"model": state dict, "args": argparse.Namespace, ...}.
Nothing but tensors, plain values and that namespace is ever unpickled. Raises WeightsError naming what is wrong.
"""

from __future__ import annotations

import re
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from smca.errors import WeightsError

FORBIDDEN = re.compile(r"GLOBAL (\S+) was not an allowed global")


@dataclass(frozen=True)
class Checkpoint:
    """Weights by name; arguments: what the training script was called with, {} when not stored."""

    tensors: dict[str, Tensor]
    arguments: dict[str, Any]


def read_checkpoint(path: Path) -> Checkpoint:
    """The weights in `path` on the CPU."""
    found = _read(path)
    weights = found.get("model", found) if isinstance(found, dict) else found
    if not isinstance(weights, dict) or not all(isinstance(key, str) for key in weights):
        raise WeightsError(f"{path} holds a {type(weights).__name__}, not tensors by name")
    tensors = {key: value for key, value in weights.items() if isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"{path} holds no tensors by name, only {', '.join(map(str, list(found)[:5])) or 'nothing'}")
    if odd := [key for key, value in tensors.items() if not _is_plain(value)]:
        raise WeightsError(f"{path} holds {odd[0]} as {_kind(tensors[odd[0]])}; allowed: real numbers, stored densely")
    arguments = found.get("args")
    return Checkpoint(tensors, vars(arguments) if isinstance(arguments, Namespace) else {})


def _read(path: Path) -> Any:
    if _beginning(path).lstrip().startswith(b"<"):
        raise WeightsError(f"{path} is a web page, not a checkpoint; its download went wrong")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([Namespace]):
            return torch.load(path, "cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"cannot read weights from {path}: {_reason(error)}") from error


def _is_plain(value: Tensor) -> bool:
    dense = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
    return dense and value.dtype != torch.bool and not value.is_complex()


def _kind(value: Tensor) -> str:
    return f"{value.dtype}, {value.layout}, on {value.device}".replace("torch.", "")


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(256)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error


def _reason(error: Exception) -> str:
    """What torch or safetensors said, without their advice to trust the file."""
    message = " ".join(str(error).split())
    forbidden = FORBIDDEN.search(message)
    if forbidden:
        return f"it needs {forbidden[1]}; only tensors, plain values and argparse.Namespace are ever unpickled"
    if isinstance(error, UnpicklingError):
        return "it is not a checkpoint, or only a part of one"
    return f"it is damaged or incomplete ({message[:120]})"
