"""E5 and E8: spatially modulated co-attention (decoder cross-attention), folded and explicit.

    C_h = sum_l alpha_l softmax_l( K_h,l^T Q_h / sqrt d + log G_h,l ) V_h,l        alpha_l = 1 / L without E7

The explicit form is the oracle and runs when the attention itself is asked for (it then also tells the plain one, of
the same scores without log G: what DETR would have seen), and for the released code's "product" spread, whose powers
float32 could not fold. The folded form (folding.py) runs otherwise: one fused call a level, over keys and values that
are projected and widened once for all levels; without modulation it is the plain call, padding masked.
Everything is float32 or better, also under autocast, but for inference under autocast, which attends in its type.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smca.modeling.folding import (
    folded_attention,
    key_features,
    wide_cells,
    wide_queries,
    widened,
    with_cells,
)
from smca.modeling.input_projection import Tokens
from smca.modeling.precision import at_least_float32, without_autocast, working_type
from smca.modeling.weight_maps import WeightMap, log_weight_map

MASKED = -1e9


@dataclass(frozen=True)
class Memory:
    """What all decoder layers read, made once: tokens, the same with positions [B, S, C], and `wide_cells`."""

    tokens: Tokens
    located: Tensor
    cells: Tensor

    @classmethod
    def of(cls, tokens: Tokens, width: int) -> Memory:
        """Positions added and cells described, in the type that layers with heads of `width` will attend in."""
        dtype = working_type(tokens.features)
        paddings = [None] * len(tokens.grids) if tokens.padding is None else tokens.padding.split(tokens.lengths, 1)
        cells = [key_features(grid, pad, dtype) for grid, pad in zip(tokens.grids, paddings, strict=True)]
        return cls(tokens, tokens.features + tokens.positions, wide_cells(torch.cat(cells, dim=1), width))


class CoAttended(NamedTuple):
    """Output [B, N, C], and with the explicit form the probabilities of each level [B, N, M, H_l, W_l].

    plain: the probabilities without log G, when the explicit form was asked for and there is a G.
    """

    output: Tensor
    attention: list[Tensor]
    plain: list[Tensor]


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

    def forward(
        self,
        query: Tensor,
        memory: Memory,
        weight_maps: list[WeightMap] | None,
        scale_weights: Tensor | None,
        explicit: bool = False,
    ) -> CoAttended:
        """Query [B, N, C] with its position; weight_maps: one a level; scale_weights alpha [B, N, L]."""
        levels = len(memory.tokens.lengths)
        shares = [1 / levels] * levels
        if scale_weights is not None:
            shares = list(scale_weights[:, None, :, :, None].unbind(dim=3))
        probabilities: list[Tensor] = []
        plain: list[Tensor] = []
        if explicit or any(weight_map.product is not None for weight_map in weight_maps or []):
            attended, probabilities, plain = self._explicit(query, memory, weight_maps, with_plain=explicit)
        else:
            attended = self._folded(query, memory, weight_maps) if weight_maps else self._plain(query, memory)
        with without_autocast(query.device):
            total = torch.stack([share * part for share, part in zip(shares, attended, strict=True)]).sum(dim=0)
        return CoAttended(self.output(total.transpose(1, 2).flatten(2)), probabilities, plain)

    def _heads(self, values: Tensor) -> Tensor:
        return values.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _projected(self, query: Tensor, memory: Memory) -> list[Tensor]:
        """Queries, keys and values by head, [B, M, N or S, d], keys and values of all levels at once."""
        projected = self.query(query), self.key(memory.located), self.value(memory.tokens.features)
        return [self._heads(part).to(memory.cells.dtype) for part in projected]

    def _plain(self, query: Tensor, memory: Memory) -> list[Tensor]:
        tokens, lengths = memory.tokens, memory.tokens.lengths
        q, keys, values = self._projected(query, memory)
        masks = [None] * len(lengths)
        if tokens.padding is not None:
            masks = list((~tokens.padding[:, None, None]).split(lengths, dim=-1))
        dropout = self.dropout if self.training else 0.0
        parts = zip(keys.split(lengths, dim=2), values.split(lengths, dim=2), masks, strict=True)
        with without_autocast(query.device):
            return [F.scaled_dot_product_attention(q, key, value, mask, dropout) for key, value, mask in parts]

    def _folded(self, query: Tensor, memory: Memory, weight_maps: list[WeightMap]) -> list[Tensor]:
        tokens = memory.tokens
        q, keys, values = self._projected(query, memory)
        with without_autocast(query.device):
            keys, values = with_cells(keys, memory.cells), widened(values, memory.cells)
            queries = wide_queries(q, weight_maps, tokens.grids)
            parts = zip(queries, keys.split(tokens.lengths, dim=2), values.split(tokens.lengths, dim=2), strict=True)
            dropout = self.dropout if self.training else 0.0
            return [folded_attention(*part, q.shape[-1], dropout) for part in parts]

    def _explicit(
        self, query: Tensor, memory: Memory, weight_maps: list[WeightMap] | None, with_plain: bool
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        tokens = memory.tokens
        projected = self.query(query), self.key(memory.located), self.value(tokens.features)
        q, keys, values = (self._heads(at_least_float32(part)) for part in projected)
        attended, probabilities, plains = [], [], []
        parts = zip(keys.split(tokens.lengths, dim=2), values.split(tokens.lengths, dim=2), strict=True)
        dropout = self.dropout if self.training else 0.0
        for level, (key, value) in enumerate(parts):
            log_map = None
            if weight_maps:
                log_map = log_weight_map(weight_maps[level], tokens.grids[level]).flatten(-2).transpose(1, 2)
            padding = None if tokens.padding is None else tokens.padding.split(tokens.lengths, dim=1)[level]
            with without_autocast(query.device):
                part, probability, plain = explicit_attention(q, key, value, log_map, padding, dropout, with_plain)
            attended.append(part)
            probabilities.append(probability.transpose(1, 2).unflatten(-1, tokens.shapes[level]))
            if plain is not None:
                plains.append(plain.transpose(1, 2).unflatten(-1, tokens.shapes[level]))
        return attended, probabilities, plains
