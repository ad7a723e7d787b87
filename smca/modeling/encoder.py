"""E1 and the multi-scale encoder: intra-scale and multi-scale self-attention blocks.

    x = norm1(x + A(Q = K = x + pos, V = x));  x = norm2(x + FFN(x))          (pre_norm: x + A(norm1(x)), ...)

An "intra" block attends inside every level, a "multi" block over all levels at once. Attention (with its norm) and FFN
(with its norm) are shared by all levels, or one set a level. [B, S, C] -> [B, S, C]; padding is never a key.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smca.modeling.configuration import SmcaConfig
from smca.modeling.input_projection import Tokens


class PerLevel(nn.ModuleList):
    """One module for all levels, or one a level, applied to tokens [B, S, C]."""

    def __init__(self, make: Callable[[], nn.Module], count: int) -> None:
        super().__init__(make() for _ in range(count))

    def forward(self, tokens: Tensor, lengths: tuple[int, ...]) -> Tensor:
        if len(self) == 1:
            return self[0](tokens)
        return torch.cat([module(part) for module, part in zip(self, tokens.split(lengths, 1), strict=True)], dim=1)


class FeedForward(nn.Sequential):
    """Linear, ReLU, dropout, linear."""

    def __init__(self, channels: int, width: int, dropout: float) -> None:
        super().__init__(nn.Linear(channels, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, channels))


def self_attention(
    query: Tensor, key: Tensor, value: Tensor, heads: int, padding: Tensor | None, dropout: float
) -> Tensor:
    """Multi-head attention through the fused kernel: [B, N, C], [B, S, C] -> [B, N, C]."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    mask = None if padding is None else ~padding[:, None, None]
    output = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
    return output.transpose(1, 2).flatten(2)


class EncoderBlock(nn.Module):
    """One block; `multi` says whether its attention crosses levels."""

    def __init__(self, config: SmcaConfig, multi: bool) -> None:
        super().__init__()
        levels, channels = len(config.levels), config.d_model
        attentions = 1 if config.shared_attention else levels
        feed_forwards = 1 if config.shared_ffn else levels
        self.multi = multi
        self.pre_norm = config.pre_norm
        self.heads = config.encoder_heads or config.num_heads
        self.attention_dropout = config.attention_dropout
        self.dropout = nn.Dropout(config.dropout)
        self.query_key = PerLevel(lambda: nn.Linear(channels, 2 * channels), attentions)
        self.value = PerLevel(lambda: nn.Linear(channels, channels), attentions)
        self.output = PerLevel(lambda: nn.Linear(channels, channels), attentions)
        self.norm1 = PerLevel(lambda: nn.LayerNorm(channels), attentions)
        self.ffn = PerLevel(lambda: FeedForward(channels, config.ffn_dim, config.dropout), feed_forwards)
        self.norm2 = PerLevel(lambda: nn.LayerNorm(channels), feed_forwards)

    def forward(self, features: Tensor, tokens: Tokens) -> Tensor:
        lengths = tokens.lengths
        if self.pre_norm:
            features = features + self.dropout(self._attend(self.norm1(features, lengths), tokens))
            return features + self.dropout(self.ffn(self.norm2(features, lengths), lengths))
        features = self.norm1(features + self.dropout(self._attend(features, tokens)), lengths)
        return self.norm2(features + self.dropout(self.ffn(features, lengths)), lengths)

    def _attend(self, features: Tensor, tokens: Tokens) -> Tensor:
        groups = (sum(tokens.lengths),) if self.multi else tokens.lengths
        query, key = self.query_key(features + tokens.positions, tokens.lengths).chunk(2, dim=-1)
        value = self.value(features, tokens.lengths)
        paddings = [None] * len(groups) if tokens.padding is None else tokens.padding.split(groups, dim=1)
        parts = zip(query.split(groups, 1), key.split(groups, 1), value.split(groups, 1), paddings, strict=True)
        dropout = self.attention_dropout if self.training else 0.0
        attended = torch.cat([self_attention(q, k, v, self.heads, pad, dropout) for q, k, v, pad in parts], dim=1)
        return self.output(attended, tokens.lengths)


class Encoder(nn.Module):
    """The blocks in the order of `config.encoder`, e.g. 2 intra, 1 multi, 2 intra."""

    def __init__(self, config: SmcaConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(EncoderBlock(config, multi=kind == "multi") for kind in config.encoder)
        self.norm = nn.LayerNorm(config.d_model) if config.pre_norm and config.encoder else None

    def forward(self, tokens: Tokens) -> Tensor:
        features = tokens.features
        for block in self.blocks:
            features = block(features, tokens)
        return features if self.norm is None else self.norm(features)
