"""Where things lie: image sizes in a batch, feature grids and the positions of their cells.

A level of stride s holds ceil(height / s) x ceil(width / s) valid cells of an image; the rest is padding. Cell i lies
at i + offset in units of cells, where offset is the backbone's: ResNets sample at i * s pixels, other networks do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class BatchSizes(NamedTuple):
    """Unpadded heights [B] and widths [B] of the images of a batch, in pixels."""

    height: Tensor
    width: Tensor

    @staticmethod
    def of_mask(pixel_mask: Tensor) -> BatchSizes:
        """Sizes from a mask [B, H, W] that is 1 on the image, which sits in the upper left corner."""
        mask = pixel_mask.long()
        return BatchSizes(height=mask[:, :, 0].sum(1), width=mask[:, 0, :].sum(1))

    def cells(self, stride: int) -> BatchSizes:
        """Valid rows and columns at a stride."""
        return BatchSizes(height=-(-self.height // stride), width=-(-self.width // stride))

    def mask(self, height: int, width: int) -> Tensor:
        """Boolean [B, height, width], true inside each size."""
        rows = torch.arange(height, device=self.height.device) < self.height[:, None]
        columns = torch.arange(width, device=self.width.device) < self.width[:, None]
        return rows[:, :, None] & columns[:, None, :]


@dataclass(frozen=True)
class LevelGeometry:
    """A feature level: its name, stride in pixels, channels, and the position of cell 0's centre in cells."""

    name: str
    stride: int
    channels: int
    offset: float


class Grid(NamedTuple):
    """Centres of a level's cells, in cells: x [W] and y [H]."""

    x: Tensor
    y: Tensor

    @staticmethod
    def of_map(height: int, width: int, offset: float, like: Tensor) -> Grid:
        """The grid of a feature map with the device and dtype of `like`."""
        x = torch.arange(width, device=like.device, dtype=like.dtype)
        y = torch.arange(height, device=like.device, dtype=like.dtype)
        return Grid(x=x + offset, y=y + offset)
