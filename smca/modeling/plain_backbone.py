"""The "plain" backbone: strided 3x3 convolutions and residual blocks, for training from scratch on small machines.

Norms: "batch" learns fastest from random weights (docs/results); "layer" normalises each cell over its channels alone,
so that training too depends on neither batch nor padding; "frozen" has constants. Output: C3, C4, C5 at strides 8, 16,
32. Source: own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from smca.modeling.frozen_norm import FrozenNorm


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of every cell of [B, C, H, W]."""

    def forward(self, input: Tensor) -> Tensor:
        channels_last = input.permute(0, 2, 3, 1)
        return super().forward(channels_last).permute(0, 3, 1, 2)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "layer": ChannelNorm,
    "frozen": FrozenNorm,
}


class ConvNorm(nn.Sequential):
    """3x3 convolution and norm."""

    def __init__(self, inputs: int, outputs: int, norm: str, stride: int = 1, dilation: int = 1) -> None:
        convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False)
        super().__init__(convolution, NORMS[norm](outputs))


class Residual(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), then ReLU."""

    def __init__(self, width: int, norm: str, dilation: int = 1) -> None:
        super().__init__()
        self.first = ConvNorm(width, width, norm, dilation=dilation)
        self.second = ConvNorm(width, width, norm, dilation=dilation)

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(features + self.second(F.relu(self.first(features))))


class PlainBackbone(nn.Module):
    """[B, 3, H, W] -> [C3, C4, C5]; widths at strides 2, 4, 8, 16, 32; residual blocks at strides 8, 16, 32;
    shorter lists make fewer maps.

    dilated: the last stage stays at stride 16 and looks twice as far instead (DC5).
    """

    def __init__(self, widths: tuple[int, ...], blocks: tuple[int, ...], norm: str, dilated: bool = False) -> None:
        super().__init__()
        counts = (0, 0, *blocks)
        inputs = (3, *widths[:-1])
        steps = [*[(2, 1)] * 4, (1, 2) if dilated else (2, 1)][: len(widths)]
        self.stages = nn.ModuleList(
            nn.Sequential(
                ConvNorm(before, width, norm, *step),
                nn.ReLU(),
                *(Residual(width, norm, step[1]) for _ in range(count)),
            )
            for before, width, count, step in zip(inputs, widths, counts, steps, strict=True)
        )

    def forward(self, pixel_values: Tensor) -> list[Tensor]:
        levels = []
        features = pixel_values
        for stage in self.stages:
            features = stage(features)
            levels.append(features)
        return levels[2:]
