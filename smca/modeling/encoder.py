"""E1 and the multi-scale encoder: intra-scale and multi-scale self-attention blocks.

    x = norm1(x + A(Q = K = x + pos, V = x));  x = norm2(x + FFN(x))          (encoder_block.py)

An "intra" block attends inside every level, a "multi" block over all levels at once. Attention (with its norm) and FFN
(with its norm) are shared by all levels, or one set a level. [B, S, C] -> [B, S, C]; padding is never a key.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smca.modeling.configuration import SmcaConfig
from smca.modeling.depthwise_encoder import DepthwiseBlock, HalvedFinest
from smca.modeling.encoder_block import EncoderBlock, PerLevel
from smca.modeling.input_projection import Tokens


def self_attention(
    query: Tensor, key: Tensor, value: Tensor, heads: int, padding: Tensor | None, dropout: float
) -> Tensor:
    """Multi-head attention through the fused kernel: [B, N, C], [B, S, C] -> [B, N, C]."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    mask = None if padding is None else ~padding[:, None, None]
    output = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
    return output.transpose(1, 2).flatten(2)


class AttentionBlock(EncoderBlock):
    """Self-attention; `multi` says whether it crosses levels."""

    def __init__(self, config: SmcaConfig, multi: bool) -> None:
        super().__init__(config)
        channels = config.d_model
        self.multi = multi
        self.heads = config.encoder_heads or config.num_heads
        self.attention_dropout = config.attention_dropout
        self.query_key = PerLevel(lambda: nn.Linear(channels, 2 * channels), self.mixers)
        self.value = PerLevel(lambda: nn.Linear(channels, channels), self.mixers)
        self.output = PerLevel(lambda: nn.Linear(channels, channels), self.mixers)

    def mix(self, features: Tensor, tokens: Tokens) -> Tensor:
        groups = (sum(tokens.lengths),) if self.multi else tokens.lengths
        query, key = self.query_key(features + tokens.positions, tokens.lengths).chunk(2, dim=-1)
        value = self.value(features, tokens.lengths)
        paddings = [None] * len(groups) if tokens.padding is None else tokens.padding.split(groups, dim=1)
        parts = zip(query.split(groups, 1), key.split(groups, 1), value.split(groups, 1), paddings, strict=True)
        dropout = self.attention_dropout if self.training else 0.0
        attended = torch.cat([self_attention(q, k, v, self.heads, pad, dropout) for q, k, v, pad in parts], dim=1)
        return self.output(attended, tokens.lengths)


class Encoder(nn.Module):
    """The blocks in the order of `config.encoder`, e.g. 2 intra, 1 multi, 2 intra: Tokens -> Tokens."""

    def __init__(self, config: SmcaConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            DepthwiseBlock(config) if kind == "depthwise" else AttentionBlock(config, multi=kind == "multi")
            for kind in config.encoder
        )
        self.norm = nn.LayerNorm(config.d_model) if config.pre_norm and config.encoder else None
        halves = config.halve_finest and len(config.levels) > 1
        self.halved_finest = HalvedFinest(config.d_model) if halves else None

    def forward(self, tokens: Tokens) -> Tokens:
        features = tokens.features
        for block in self.blocks:
            features = block(features, tokens)
        if self.norm is not None:
            features = self.norm(features)
        encoded = dataclasses.replace(tokens, features=features)
        return encoded if self.halved_finest is None else self.halved_finest(encoded)
