"""Weight maps, costs and losses are computed in float32 or better, whatever autocast says.

Scores, boxes, centres and attention too while gradients are wanted (the spread's would be noise in bfloat16); without,
they take autocast's type.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn


def cpu_has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 natively."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and (
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    )


def has_float16(device: torch.device) -> bool:
    """Whether `device` multiplies float16 natively."""
    return device.type == "cuda" or bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())


def has_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 natively."""
    return torch.cuda.is_bf16_supported(including_emulation=False) if device.type == "cuda" else cpu_has_bfloat16()


def at_least_float32(values: Tensor) -> Tensor:
    """`values` in float32, or unchanged if already float32 or float64."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """A context in which `device` multiplies in `dtype`; None: as it would."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def exact_in_training(module: nn.Module, device: torch.device) -> AbstractContextManager[object]:
    """Without autocast while `module` trains or gradients are wanted; in predictions as it is."""
    return without_autocast(device) if module.training or torch.is_grad_enabled() else nullcontext()


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """A context in which `device` computes in the precision of its inputs."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def working_type(values: Tensor) -> torch.dtype:
    """What to attend in: float32 or the better type of `values`; autocast's where no gradients are wanted."""
    device = values.device.type
    if device != "meta" and not torch.is_grad_enabled() and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return torch.promote_types(values.dtype, torch.float32)
