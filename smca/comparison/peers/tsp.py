"""What TSP-FCOS and TSP-RCNN share (Sun et al., ICCV 2021): a transformer encoder over sparse features of interest, no
decoder, and a match of each object with the cheapest of the features that lie on it. Built here from the paper.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms

from smca.comparison.peers.peer import Found

LEAST_KEPT = 0.7
HEADS = 8


class TokenEncoder(nn.Module):
    """[B, n, C] tokens and positions, padding [B, n] (True: no token) -> [B, n, C]: pre-norm layers, a last norm."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, HEADS, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, tokens: Tensor, padding: Tensor) -> Tensor:
        return self.layers(tokens, src_key_padding_mask=padding if bool(padding.any()) else None)


def sine_of(values: Tensor, channels: int) -> Tensor:
    """[..., k] in [0, 1] -> [..., k * channels]: sines and cosines of growing wave length (as in DETR)."""
    half = torch.arange(channels // 2, device=values.device, dtype=values.dtype)
    angles = 2 * math.pi * values[..., None] / 10_000 ** (2 * half / channels)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def some_of(count: int, device: torch.device) -> Tensor:
    """Which of `count` features stay in a training step: a random share between 70 and 100 %, at least one."""
    share = LEAST_KEPT + (1 - LEAST_KEPT) * torch.rand(1).item()
    return torch.randperm(count, device=device)[: max(1, math.ceil(share * count))].sort().values


def winners(cost: Tensor, assigned: Tensor, objects: int) -> Tensor:
    """Bool [n]: of the features [n] that are assigned to each object (-1: none), the one with the least cost [n]."""
    won = torch.zeros(len(cost), dtype=torch.bool, device=cost.device)
    for index in range(objects):
        candidates = (assigned == index).nonzero().flatten()
        if len(candidates):
            won[candidates[cost[candidates].argmin()]] = True
    return won


def best_of(boxes: Tensor, scores: Tensor, overlap: float, most: int, lowest: float) -> Found:
    """Boxes [n, K, 4] or [n, 1, 4] and scores [n, K] -> the best detections after suppression within each class."""
    feature, label = (scores > lowest).nonzero(as_tuple=True)
    framed = boxes.expand(-1, scores.shape[1], -1)[feature, label]
    kept = batched_nms(framed, scores[feature, label], label, overlap)[:most]
    return Found(framed[kept], scores[feature, label][kept], label[kept])
