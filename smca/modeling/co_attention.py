"""E5 and E8: spatially modulated co-attention (decoder cross-attention), folded and explicit.

    C_h = sum_l alpha_l softmax_l( K_h,l^T Q_h / sqrt d + log G_h,l ) V_h,l        alpha_l = 1 / L without E7

The explicit form is the oracle and runs when the attention itself is asked for (it then also tells the plain one, of
the same scores without log G: what DETR would have seen), and for the released code's "product" spread, whose powers
float32 could not fold. The folded form runs otherwise: log G and the padding are a dot product of six features,

    query  sqrt(d) [2 c_x A_x, -A_x, 2 c_y A_y, -A_y, -A_x c_x^2 - A_y c_y^2, 1]
    key    [x, x^2, y, y^2, 1, 0 or -1e9 on padding],

with coordinates centred on the grid for float32's sake (softmax cancels the constant, but not its gradient's rounding:
with it the spread's gradient is some fifty times more exact on large maps), so one fused scaled-dot-product call of a
slightly wider head does it and no [queries, cells] tensor exists. V is as wide because the fused CPU kernel needs that;
K and V are projected straight into the wide heads. Everything is float32 or better, also under autocast.
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
    """Output [B, N, C], and with the explicit form the probabilities of each level [B, N, M, H_l, W_l].

    plain: the probabilities without log G, when the explicit form was asked for and there is a G.
    """

    output: Tensor
    attention: list[Tensor]
    plain: list[Tensor]


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


def wide(width: int) -> int:
    """Channels of a folded head: its own, the features, and zeros up to a multiple of 4 (16 bytes, as kernels like)."""
    return width + FEATURES + -(width + FEATURES) % 4


def project_wide(tokens: Tensor, linear: nn.Linear, heads: int) -> Tensor:
    """`linear` of tokens [B, S, C] by head, zeros behind the head's own channels, in one product: [B, M, S, wide]."""
    width = linear.out_features // heads
    fill = wide(width) - width
    weight = F.pad(linear.weight.unflatten(0, (heads, width)), (0, 0, 0, fill)).flatten(0, 1)
    bias = F.pad(linear.bias.unflatten(0, (heads, width)), (0, fill)).flatten()
    return at_least_float32(F.linear(tokens, weight, bias)).unflatten(-1, (heads, -1)).transpose(1, 2)


def with_cells(keys: Tensor, cells: Tensor, width: int) -> Tensor:
    """Wide keys [B, M, S, wide] with the features of their cells [1 or B, S, 6] behind the head's `width` channels."""
    return keys + F.pad(cells, (width, keys.shape[-1] - width - FEATURES))[:, None]


def folded_attention(query: Tensor, key: Tensor, value: Tensor, features: Tensor | None, dropout: float) -> Tensor:
    """Attention of [B, M, N, d] over wide keys (with cells) and values [B, M, S, wide]; features: `query_features`."""
    width = query.shape[-1]
    if features is None:
        features = query.new_zeros(*query.shape[:-1], FEATURES)
        features[..., -1] = math.sqrt(width)
    fill = F.pad(features.expand(*query.shape[:-1], -1), (0, key.shape[-1] - width - FEATURES))
    wide_query = torch.cat([query, fill], dim=-1)
    scale = 1 / math.sqrt(width)
    return F.scaled_dot_product_attention(wide_query, key, value, dropout_p=dropout, scale=scale)[..., :width]


def explicit_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_map: Tensor | None,
    padding: Tensor | None,
    dropout: float,
    with_plain: bool = False,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """E5 as written: (output [B, M, N, d], probabilities [B, M, N, S], and if wanted those without log_map).

    log_map: [B, M or 1, N, S]; without one there is no plain attention to tell apart.
    """
    score = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    plain = _probabilities(score, padding) if with_plain and log_map is not None else None
    probability = _probabilities(score if log_map is None else score + log_map, padding)
    return F.dropout(probability, dropout) @ value, probability, plain


def _probabilities(score: Tensor, padding: Tensor | None) -> Tensor:
    if padding is not None:
        score = score.masked_fill(padding[:, None, None], MASKED)
    return score.softmax(dim=-1)


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
        asked = explicit
        explicit = asked or any(weight_map.product is not None for weight_map in weight_maps or [])
        q = self._heads(self.query(query))
        located = tokens.features + tokens.positions
        project = self._narrow if explicit else self._wide
        keys, values = project(located, self.key), project(tokens.features, self.value)
        shares = [1 / len(cells)] * len(cells)
        if scale_weights is not None:
            shares = list(scale_weights[:, None, :, :, None].unbind(dim=3))
        with without_autocast(query.device):
            probabilities: list[Tensor] = []
            plain: list[Tensor] = []
            if explicit:
                attended, probabilities, plain = self._explicit(q, keys, values, tokens, weight_maps, asked)
            else:
                keys = with_cells(keys, torch.cat(cells, dim=1), q.shape[-1])
                attended = self._folded(q, keys, values, tokens, weight_maps)
            total = torch.stack([share * part for share, part in zip(shares, attended, strict=True)]).sum(dim=0)
        return CoAttended(self.output(total.transpose(1, 2).flatten(2)), probabilities, plain)

    def _wide(self, tokens: Tensor, linear: nn.Linear) -> Tensor:
        return project_wide(tokens, linear, self.heads)

    def _narrow(self, tokens: Tensor, linear: nn.Linear) -> Tensor:
        return self._heads(linear(tokens))

    def _folded(
        self, query: Tensor, keys: Tensor, values: Tensor, tokens: Tokens, weight_maps: list[WeightMap] | None
    ) -> list[Tensor]:
        features: list[Tensor | None] = [None] * len(tokens.grids)
        if weight_maps:
            pairs = zip(weight_maps, tokens.grids, strict=True)
            features = [query_features(weight_map, grid, query.shape[-1]) for weight_map, grid in pairs]
        parts = zip(keys.split(tokens.lengths, dim=2), values.split(tokens.lengths, dim=2), features, strict=True)
        dropout = self.dropout if self.training else 0.0
        return [folded_attention(query, key, value, feature, dropout) for key, value, feature in parts]

    def _explicit(
        self,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        tokens: Tokens,
        weight_maps: list[WeightMap] | None,
        with_plain: bool,
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        attended, probabilities, plains = [], [], []
        parts = zip(keys.split(tokens.lengths, dim=2), values.split(tokens.lengths, dim=2), strict=True)
        dropout = self.dropout if self.training else 0.0
        for level, (key, value) in enumerate(parts):
            log_map = None
            if weight_maps:
                log_map = log_weight_map(weight_maps[level], tokens.grids[level]).flatten(-2).transpose(1, 2)
            padding = None if tokens.padding is None else tokens.padding.split(tokens.lengths, dim=1)[level]
            part, probability, plain = explicit_attention(query, key, value, log_map, padding, dropout, with_plain)
            attended.append(part)
            probabilities.append(probability.transpose(1, 2).unflatten(-1, tokens.shapes[level]))
            if plain is not None:
                plains.append(plain.transpose(1, 2).unflatten(-1, tokens.shapes[level]))
        return attended, probabilities, plains
