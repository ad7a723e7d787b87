"""The "plain" backbone: strided 3x3 convolutions and residual blocks, for training from scratch on small machines.

Each cell is normalised over its channels alone (layer norm), so nothing depends on the batch or on padding. Output:
C3, C4, C5 at strides 8, 16, 32. Source: own; settings from docs/results.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of every cell of [B, C, H, W]."""

    def forward(self, features: Tensor) -> Tensor:
        channels_last = features.permute(0, 2, 3, 1)
        return super().forward(channels_last).permute(0, 3, 1, 2)


class ConvNorm(nn.Sequential):
    """3x3 convolution and channel norm."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), ChannelNorm(outputs))


class Residual(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), then ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = ConvNorm(width, width)
        self.second = ConvNorm(width, width)

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(features + self.second(F.relu(self.first(features))))


class PlainBackbone(nn.Module):
    """[B, 3, H, W] -> [C3, C4, C5]; widths at strides 2, 4, 8, 16, 32; residual blocks at strides 8, 16, 32."""

    def __init__(self, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        counts = (0, 0, *blocks)
        inputs = (3, *widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(ConvNorm(before, width, stride=2), nn.ReLU(), *(Residual(width) for _ in range(count)))
            for before, width, count in zip(inputs, widths, counts, strict=True)
        )

    def forward(self, pixel_values: Tensor) -> list[Tensor]:
        levels = []
        features = pixel_values
        for stage in self.stages:
            features = stage(features)
            levels.append(features)
        return levels[2:]
