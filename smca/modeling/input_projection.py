"""Feature levels -> tokens: a 1x1 projection of each level to d_model channels; C6 is a 3x3 stride-2 one on C5.

Multi-scale levels come straight from the backbone, without a feature pyramid. With several levels a learned vector per
level is added to its position encoding. `Tokens` is what the encoder and decoder read.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from smca.modeling.configuration import SmcaConfig
from smca.modeling.geometry import BatchSizes, Grid, LevelGeometry
from smca.modeling.position import sine_position
from smca.modeling.precision import at_least_float32


@dataclass(frozen=True)
class Tokens:
    """All levels' cells in one sequence.

    features, positions: [B, S, C] (positions [1 or B, S, C]); padding: None or bool [B, S], true on padding;
    lengths: cells per level; shapes: their (rows, columns); levels, grids, scales, extents: geometry, cell centres,
    image size in cells ([B, 2], x y) and rows and columns that hold image (whole cells).
    """

    features: Tensor
    positions: Tensor
    padding: Tensor | None
    lengths: tuple[int, ...]
    shapes: tuple[tuple[int, int], ...]
    levels: tuple[LevelGeometry, ...]
    grids: tuple[Grid, ...]
    scales: tuple[Tensor, ...]
    extents: tuple[BatchSizes, ...]


class InputProjection(nn.Module):
    """{"c4": [B, C4, H, W], ...}, sizes -> Tokens."""

    def __init__(self, config: SmcaConfig, backbone_levels: dict[str, LevelGeometry]) -> None:
        super().__init__()
        self.levels = tuple(self._level(name, backbone_levels) for name in config.levels)
        self.projections = nn.ModuleList(self._projection(level, config.d_model) for level in self.levels)
        self.level_embedding = nn.Embedding(len(self.levels), config.d_model) if len(self.levels) > 1 else None

    @staticmethod
    def _level(name: str, backbone_levels: dict[str, LevelGeometry]) -> LevelGeometry:
        if name != "c6":
            return backbone_levels[name]
        c5 = backbone_levels["c5"]
        return LevelGeometry("c6", 2 * c5.stride, c5.channels, c5.offset / 2)

    @staticmethod
    def _projection(level: LevelGeometry, channels: int) -> nn.Conv2d:
        if level.name == "c6":
            return nn.Conv2d(level.channels, channels, 3, stride=2, padding=1)
        return nn.Conv2d(level.channels, channels, 1)

    def forward(self, maps: dict[str, Tensor], sizes: BatchSizes, padded: bool) -> Tokens:
        features, positions, padding = [], [], []
        grids, scales, shapes, extents = [], [], [], []
        for index, (level, project) in enumerate(zip(self.levels, self.projections, strict=True)):
            source = maps["c5" if level.name == "c6" else level.name]
            if level.name == "c6" and padded:
                source = source * sizes.cells(level.stride // 2).mask(*source.shape[-2:])[:, None]
            projected = at_least_float32(project(source))
            height, width = projected.shape[-2:]
            cells = sizes.cells(level.stride)
            position = sine_position(cells.height, cells.width, height, width, projected.shape[1])
            if self.level_embedding is not None:
                position = position + self.level_embedding.weight[index]
            features.append(projected.flatten(2).transpose(1, 2))
            positions.append(position.to(projected.dtype))
            padding.append(~cells.mask(height, width).flatten(1))
            shapes.append((height, width))
            extents.append(cells)
            grids.append(Grid.of_map(height, width, level.offset, like=projected))
            scales.append(torch.stack([sizes.width, sizes.height], dim=-1).to(projected.dtype) / level.stride)
        return Tokens(
            features=torch.cat(features, dim=1),
            positions=torch.cat(positions, dim=1),
            padding=torch.cat(padding, dim=1) if padded else None,
            lengths=tuple(height * width for height, width in shapes),
            shapes=tuple(shapes),
            levels=self.levels,
            grids=tuple(grids),
            scales=tuple(scales),
            extents=tuple(extents),
        )
