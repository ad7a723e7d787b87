"""E5 and E8: spatially modulated co-attention (decoder cross-attention), folded and explicit.

    C_h = sum_l alpha_l softmax_l( K_h,l^T Q_h / sqrt d + log G_h,l ) V_h,l        alpha_l = 1 / L without E7

The explicit form is the oracle and runs when the attention itself is asked for. The folded form runs otherwise: log G
and the padding are a dot product of six features,

    query  sqrt(d) [2 c_x A_x, -A_x, 2 c_y A_y, -A_y, -A_x c_x^2 - A_y c_y^2, 1]
    key    [x, x^2, y, y^2, 1, 0 or -1e9 on padding],

with coordinates centred on the grid for float32's sake (softmax cancels the constant, but not its gradient's rounding:
with it the spread's gradient is some fifty times more exact on large maps), so one fused scaled-dot-product call of a
slightly wider head does it and no [queries, cells] tensor exists. V is padded to the same width because the fused CPU
kernel needs that. Everything is float32 or better, also under autocast.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smca.modeling.geometry import Grid
from smca.modeling.input_projection import Tokens
from smca.modeling.precision import at_least_float32, without_autocast
from smca.modeling.weight_maps import WeightMap, log_weight_map

MASKED = -1e9
FEATURES = 6


class CoAttended(NamedTuple):
    """Output [B, N, C], and with the explicit form the probabilities of each level [B, N, M, H_l, W_l]."""

    output: Tensor
    attention: list[Tensor]


def key_features(grid: Grid, padding: Tensor | None) -> Tensor:
    """[1 or B, S, 6] for a level's cells, row by row."""
    x, y = grid.x - _middle(grid.x), grid.y - _middle(grid.y)
    rows, columns = len(y), len(x)
    x, y = x.expand(rows, columns).flatten(), y[:, None].expand(rows, columns).flatten()
    features = torch.stack([x, x**2, y, y**2, torch.ones_like(x), torch.zeros_like(x)], dim=-1)[None]
    if padding is None:
        return features
    return torch.cat([features[..., :5].expand(len(padding), -1, -1), padding[..., None] * MASKED], dim=-1)


def query_features(weight_map: WeightMap, grid: Grid, width: int) -> Tensor:
    """[B, M or 1, N, 6] for heads of `width` channels."""
    middle = torch.stack([_middle(grid.x), _middle(grid.y)])
    precision = weight_map.precision.transpose(1, 2)
    centre = weight_map.centre.transpose(1, 2) - middle
    quadratic = torch.stack([2 * centre * precision, -precision], dim=-1).flatten(-2)
    constant = -(centre**2 * precision).sum(dim=-1, keepdim=True)
    return math.sqrt(width) * F.pad(torch.cat([quadratic, constant], dim=-1), (0, 1), value=1.0)


def _middle(axis: Tensor) -> Tensor:
    return (axis[0] + axis[-1]) / 2


def folded_attention(
    query: Tensor, key: Tensor, value: Tensor, features: Tensor | None, cells: Tensor, dropout: float
) -> Tensor:
    """Attention [B, M, N, d] with log G as extra features of `query` and `key` [B, M, ., d]."""
    width = query.shape[-1]
    fill = -(width + FEATURES) % 8
    if features is None:
        features = query.new_zeros(*query.shape[:-1], FEATURES)
        features[..., -1] = math.sqrt(width)
    wide_query = torch.cat([query, F.pad(features.expand(*query.shape[:-1], -1), (0, fill))], dim=-1)
    wide_cells = F.pad(cells, (0, fill))[:, None].expand(*key.shape[:-1], -1)
    wide_key = torch.cat([key, wide_cells], dim=-1)
    wide_value = F.pad(value, (0, FEATURES + fill))
    output = F.scaled_dot_product_attention(
        wide_query, wide_key, wide_value, dropout_p=dropout, scale=1 / math.sqrt(width)
    )
    return output[..., :width]


def explicit_attention(
    query: Tensor, key: Tensor, value: Tensor, log_map: Tensor | None, padding: Tensor | None, dropout: float
) -> tuple[Tensor, Tensor]:
    """E5 as written: (output [B, M, N, d], probabilities [B, M, N, S]); log_map [B, M or 1, N, S]."""
    score = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    if log_map is not None:
        score = score + log_map
    if padding is not None:
        score = score.masked_fill(padding[:, None, None], MASKED)
    probability = score.softmax(dim=-1)
    return F.dropout(probability, dropout) @ value, probability


class CoAttention(nn.Module):
    """Projections of E5/E8 shared by all levels, and the attention between queries and tokens."""

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.output = nn.Linear(channels, channels)

    def _heads(self, values: Tensor) -> Tensor:
        return at_least_float32(values).unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(
        self,
        query: Tensor,
        tokens: Tokens,
        cells: tuple[Tensor, ...],
        weight_maps: list[WeightMap] | None,
        scale_weights: Tensor | None,
        explicit: bool = False,
    ) -> CoAttended:
        """Query [B, N, C] with its position; cells: `key_features` per level; scale_weights alpha [B, N, L]."""
        q = self._heads(self.query(query))
        keys = self._heads(self.key(tokens.features + tokens.positions)).split(tokens.lengths, dim=2)
        values = self._heads(self.value(tokens.features)).split(tokens.lengths, dim=2)
        total, probabilities = torch.zeros_like(q), []
        with without_autocast(query.device):
            for level, (key, value) in enumerate(zip(keys, values, strict=True)):
                weight_map = weight_maps[level] if weight_maps else None
                if explicit:
                    attended, probability = self._explicit(q, key, value, weight_map, tokens, level)
                    probabilities.append(probability)
                else:
                    attended = self._folded(q, key, value, weight_map, tokens.grids[level], cells[level])
                share = 1 / len(keys) if scale_weights is None else scale_weights[:, None, :, level, None]
                total = total + share * attended
        return CoAttended(self.output(total.transpose(1, 2).flatten(2)), probabilities)

    def _folded(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        weight_map: WeightMap | None,
        grid: Grid,
        cells: Tensor,
    ) -> Tensor:
        features = None if weight_map is None else query_features(weight_map, grid, query.shape[-1])
        return folded_attention(query, key, value, features, cells, self.dropout if self.training else 0.0)

    def _explicit(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        weight_map: WeightMap | None,
        tokens: Tokens,
        level: int,
    ) -> tuple[Tensor, Tensor]:
        log_map = None
        if weight_map is not None:
            log_map = log_weight_map(weight_map, tokens.grids[level]).flatten(-2).transpose(1, 2)
        padding = None if tokens.padding is None else tokens.padding.split(tokens.lengths, dim=1)[level]
        dropout = self.dropout if self.training else 0.0
        attended, probability = explicit_attention(query, key, value, log_map, padding, dropout)
        return attended, probability.transpose(1, 2).unflatten(-1, tokens.shapes[level])
