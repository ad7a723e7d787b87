"""Sine position encodings over the *unpadded* area (added to queries and keys of E1 and to keys of E5/E8).

Cell j of n valid cells along an axis is encoded as (j + 1) / (n + 1e-6) * 2 pi, divided by 10000^(2 floor(i/2) / D) for
feature i of D = C / 2, sine at even and cosine at odd features, the y half first. Cells beyond the valid area get
values that nothing reads: attention masks them. Source: DETR.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sine_axis(valid: Tensor, length: int, features: int) -> Tensor:
    """Encoding of one axis: `valid` [B] valid cells of `length` -> [B, length, features]."""
    cell = torch.arange(1, length + 1, device=valid.device, dtype=torch.float32)
    angle = cell / (valid.float()[:, None] + 1e-6) * (2 * math.pi)
    index = torch.arange(features, device=valid.device)
    frequency = 10000.0 ** (2 * (index // 2) / features)
    phase = angle[..., None] / frequency
    return torch.where(index % 2 == 0, phase.sin(), phase.cos())


def sine_position(rows: Tensor, columns: Tensor, height: int, width: int, channels: int) -> Tensor:
    """Encoding of a map: valid `rows` [B] of `height`, `columns` [B] of `width` -> [B, height * width, channels]."""
    y = sine_axis(rows, height, channels // 2)[:, :, None].expand(-1, -1, width, -1)
    x = sine_axis(columns, width, channels // 2)[:, None].expand(-1, height, -1, -1)
    return torch.cat([y, x], dim=-1).flatten(1, 2)
