"""Scores, weight maps, costs and losses are computed in float32 or better, whatever autocast says."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """`values` in float32, or unchanged if already float32 or float64."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """A context in which `device` computes in the precision of its inputs."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
