"""The encoder of the authors' released multi-scale code (44.4 AP): depthwise convolutions instead of attention.

    u_l = depthwise_l( mix_in(x_l + pos_l) )                                      7x7, of each level its own
    mix(x)_l = mix_out( u_l + up(u_l+1) + down(u_l-1) )                           mix_in, mix_out: 1x1
    down(u): 7x7 depthwise, strided to the next level;  up(u): 7x7 depthwise, then bilinear, corners aligned

No activation stands between the convolutions; all but depthwise_l is shared by levels. After the last block a 3x3
stride-2 convolution may bring the finest level onto the grid of the next one (`halve_finest`), whose positions, padding
and sizes it then has. The released code lets padding into all of this; here every convolution reads zeros there, and
each image is upsampled between its own sizes. Source: a description of the code, `docs/equations.md`.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smca.modeling.configuration import SmcaConfig
from smca.modeling.encoder_block import EncoderBlock, PerLevel
from smca.modeling.geometry import BatchSizes
from smca.modeling.input_projection import Tokens

KERNEL = 7


def clean_maps(features: Tensor, tokens: Tokens) -> list[Tensor]:
    """[B, S, C] -> a map [B, C, H, W] a level, zero on padding."""
    if tokens.padding is not None:
        features = features.masked_fill(tokens.padding[..., None], 0.0)
    parts = zip(features.split(tokens.lengths, dim=1), tokens.shapes, strict=True)
    return [part.transpose(1, 2).unflatten(2, shape) for part, shape in parts]


def sequence(maps: list[Tensor]) -> Tensor:
    """Maps [B, C, H, W] -> [B, S, C]."""
    return torch.cat([one.flatten(2).transpose(1, 2) for one in maps], dim=1)


def interpolation(source: Tensor, target: Tensor, length: int, like: Tensor) -> Tensor:
    """Weights [B, length, n] that stretch the first `source` [B] of n cells (the last axis of `like`) to `target`."""
    last = (source - 1).to(like.dtype)[:, None]
    step = last / (target - 1).clamp(min=1)[:, None]
    place = (torch.arange(length, device=like.device) * step).minimum(last)
    cell = torch.arange(like.shape[-1], device=like.device)
    return (1 - (place[..., None] - cell).abs()).clamp(min=0)


def upsampled(values: Tensor, own: BatchSizes, wanted: BatchSizes, shape: tuple[int, int]) -> Tensor:
    """Bilinear, corners aligned: of each image of [B, C, h, w] the `own` cells to `wanted` cells of [B, C, *shape]."""
    rows = interpolation(own.height, wanted.height, shape[0], values.transpose(2, 3))
    columns = interpolation(own.width, wanted.width, shape[1], values)
    return torch.einsum("bih,bchw,bjw->bcij", rows, values, columns)


def depthwise(channels: int) -> nn.Conv2d:
    """A 7x7 convolution of each channel by itself."""
    return nn.Conv2d(channels, channels, KERNEL, padding=KERNEL // 2, groups=channels)


class DepthwiseBlock(EncoderBlock):
    """One encoder layer of the released multi-scale code."""

    def __init__(self, config: SmcaConfig) -> None:
        super().__init__(config)
        channels = config.d_model
        self.mix_in = PerLevel(lambda: nn.Linear(channels, channels), self.mixers)
        self.within = nn.ModuleList(depthwise(channels) for _ in config.levels)
        self.down = depthwise(channels)
        self.up = depthwise(channels)
        self.mix_out = PerLevel(lambda: nn.Linear(channels, channels), self.mixers)

    def mix(self, features: Tensor, tokens: Tokens, explicit: bool) -> tuple[Tensor, None]:
        mixed = clean_maps(self.mix_in(features + tokens.positions, tokens.lengths), tokens)
        within = sequence([conv(one) for conv, one in zip(self.within, mixed, strict=True)])
        maps = clean_maps(within, tokens)
        neighbours = [
            self._from_finer(maps, tokens, level) + self._from_coarser(maps, tokens, level)
            for level in range(len(maps))
        ]
        return self.mix_out(within + sequence(neighbours), tokens.lengths), None

    def _from_finer(self, maps: list[Tensor], tokens: Tokens, level: int) -> Tensor:
        if level == 0:
            return torch.zeros_like(maps[0])
        stride = tokens.levels[level].stride // tokens.levels[level - 1].stride
        conv = self.down
        return F.conv2d(maps[level - 1], conv.weight, conv.bias, stride, KERNEL // 2, groups=conv.groups)

    def _from_coarser(self, maps: list[Tensor], tokens: Tokens, level: int) -> Tensor:
        if level == len(maps) - 1:
            return torch.zeros_like(maps[level])
        extents = tokens.extents[level + 1], tokens.extents[level]
        return upsampled(self.up(maps[level + 1]), *extents, tokens.shapes[level])


class HalvedFinest(nn.Module):
    """Tokens of several levels -> Tokens whose first level lies on the grid of the second."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, tokens: Tokens) -> Tokens:
        finest, *others = clean_maps(tokens.features, tokens)
        stride = tokens.levels[1].stride // tokens.levels[0].stride
        halved = F.conv2d(finest, self.conv.weight, self.conv.bias, stride, padding=1)
        paddings = None if tokens.padding is None else tokens.padding.split(tokens.lengths, dim=1)[1:]
        positions = tokens.positions.split(tokens.lengths, dim=1)[1:]
        return dataclasses.replace(
            tokens,
            features=torch.cat([sequence([halved]), sequence(others)], dim=1),
            positions=torch.cat([positions[0], *positions], dim=1),
            padding=None if paddings is None else torch.cat([paddings[0], *paddings], dim=1),
            lengths=(tokens.lengths[1], *tokens.lengths[1:]),
            shapes=(tokens.shapes[1], *tokens.shapes[1:]),
            levels=(dataclasses.replace(tokens.levels[1], name=tokens.levels[0].name), *tokens.levels[1:]),
            grids=(tokens.grids[1], *tokens.grids[1:]),
            scales=(tokens.scales[1], *tokens.scales[1:]),
            extents=(tokens.extents[1], *tokens.extents[1:]),
        )
