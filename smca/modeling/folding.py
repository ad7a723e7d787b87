"""E5's Gaussian for free: log G and the padding folded into queries and keys, for one fused attention call.

log G is a quadratic in a cell's (x, y), so it is a dot product of a few more features of query and key. In float32:

    query  sqrt(d) [2 c_x A_x, -A_x, 2 c_y A_y, -A_y, -A_x c_x^2 - A_y c_y^2], 3e4
    key            [x, x^2, y, y^2, 1],                                         0 or -3e4 on padding

with coordinates centred on the grid for float32's sake (softmax cancels the constant, but not its gradient's rounding:
with it the spread's gradient is some fifty times more exact on large maps). In bfloat16 and float16 per axis, with
A' = sqrt(d) A rounded first, b = 2 c A' and x^2 each as a rounded number and what is left of it, which both are exact
to 16 bits (maps up to 256 cells; in float16 also 2 c A' below 65,504, beyond which it stays there):

    query  [b_hi, b_lo, -A', -A'],  key  [x, x, (x^2)_hi, (x^2)_lo]

Values are as wide because the fused CPU kernel needs that. No [queries, cells] tensor exists. What a score of size S is
known to: S * eps in float32, so spreads below .3 cell on large maps cost digits (`weight_maps.SMALLEST` is the floor).
Source: own; tested against the float64 form of E5 (tests/modeling/test_co_attention.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from smca.modeling.geometry import Grid
from smca.modeling.weight_maps import WeightMap

HALF = (torch.bfloat16, torch.float16)
FAR = 3e4


def features_of(dtype: torch.dtype) -> int:
    """How many features the fold adds to a head in that type."""
    return 9 if dtype in HALF else 6


def wide(width: int, dtype: torch.dtype = torch.float32) -> int:
    """Channels of a folded head: its own, the features, and zeros up to a multiple of 16 bytes, as kernels like."""
    step = 8 if dtype in HALF else 4
    return width + features_of(dtype) + -(width + features_of(dtype)) % step


def key_features(grid: Grid, padding: Tensor | None, dtype: torch.dtype | None = None) -> Tensor:
    """[1 or B, S, features] of a level's cells, row by row, to be used in `dtype` (the grid's by default)."""
    dtype = dtype or grid.x.dtype
    x, y = grid.x - _middle(grid.x), grid.y - _middle(grid.y)
    x, y = (axis.flatten() for axis in torch.meshgrid(x, y, indexing="xy"))
    if dtype in HALF:
        features = [part for axis in (x, y) for part in (axis, axis, *_split(axis**2, dtype))]
    else:
        features = [x, x**2, y, y**2, torch.ones_like(x)]
    known = torch.stack(features, dim=-1)[None]
    if padding is None:
        return F.pad(known, (0, 1)).to(dtype)
    return torch.cat([known.expand(padding.shape[0], -1, -1), padding[..., None] * -FAR], dim=-1).to(dtype)


def wide_queries(query: Tensor, weight_maps: Sequence[WeightMap], grids: Sequence[Grid]) -> Tensor:
    """Queries [B, M, N, d] with the features of their maps, of all levels L at once: [L, B, M, N, wide]."""
    width = query.shape[-1]
    features = query_features(weight_maps, grids, width, query.dtype)
    features = features.expand(-1, *query.shape[:-1], -1)
    parts = [query.expand(len(grids), *query.shape), features]
    fill = wide(width, query.dtype) - width - features.shape[-1]
    return torch.cat([*parts, query.new_zeros(()).expand(*features.shape[:-1], fill)], dim=-1)


def query_features(weight_maps: Sequence[WeightMap], grids: Sequence[Grid], width: int, dtype: torch.dtype) -> Tensor:
    """[L, B, M or 1, N, features] for heads of `width` channels, to be used in `dtype`."""
    middle = torch.stack([torch.stack([_middle(grid.x), _middle(grid.y)]) for grid in grids])
    centre = torch.stack([one.centre for one in weight_maps]).transpose(2, 3) - middle[:, None, None, None]
    precision = math.sqrt(width) * torch.stack([one.precision for one in weight_maps]).transpose(2, 3)
    if dtype in HALF:
        precision = precision.to(dtype).to(precision.dtype)
        parts = [_quadratic(*_split(2 * centre * precision, dtype), -precision, -precision)]
    else:
        linear = centre * precision
        parts = [_quadratic(2 * linear, -precision), -(centre * linear).sum(dim=-1, keepdim=True)]
    far = centre.new_full((), FAR).expand(*centre.shape[:-1], 1)
    return torch.cat([*parts, far], dim=-1).to(dtype)


def _quadratic(*parts: Tensor) -> Tensor:
    """Parts [..., 2] (x, y) -> [..., 2 * parts], all of x first."""
    return torch.stack(parts, dim=-1).flatten(-2)


def _split(values: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A number as `dtype` has it, and what that leaves."""
    most = torch.finfo(dtype).max
    values = values.clamp(-most, most)
    high = values.to(dtype).to(values.dtype)
    return high, values - high


def _middle(axis: Tensor) -> Tensor:
    return (axis[0] + axis[-1]) / 2


def wide_cells(cells: Tensor, width: int) -> Tensor:
    """Features of cells [1 or B, S, features] -> [1 or B, S, 1, wide - width], what keys of `width` channels lack."""
    return F.pad(cells, (0, wide(width, cells.dtype) - width - cells.shape[-1]))[:, :, None]


def with_cells(keys: Tensor, cells: Tensor) -> Tensor:
    """Keys [B, M, S, d] and their `wide_cells` -> [B, M, S, wide]; heads lie behind cells in memory, as projected."""
    own = keys.transpose(1, 2)
    return torch.cat([own, cells.expand(*own.shape[:-1], -1)], dim=-1).transpose(1, 2)


def widened(values: Tensor, cells: Tensor) -> Tensor:
    """Values [B, M, S, d] as wide as keys with their `wide_cells`, by zeros."""
    return F.pad(values.transpose(1, 2), (0, cells.shape[-1])).transpose(1, 2)


def folded_attention(query: Tensor, key: Tensor, value: Tensor, width: int, dropout: float) -> Tensor:
    """Attention of wide queries [B, M, N, wide] over wide keys and values [B, M, S, wide]: [B, M, N, width]."""
    scale = 1 / math.sqrt(width)
    return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=scale)[..., :width]
