"""E1 and the multi-scale encoder: intra-scale and multi-scale self-attention blocks.

    x = norm1(x + A(Q = K = x + pos, V = x));  x = norm2(x + FFN(x))          (encoder_block.py)

An "intra" block attends inside every level, a "multi" block over all levels at once. Attention (with its norm) and FFN
(with its norm) are shared by all levels, or one set a level. [B, S, C] -> [B, S, C]; padding is never a key. The
attention itself is computed by the fused kernel, or written out when it is asked for.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smca.modeling.co_attention import explicit_attention
from smca.modeling.configuration import SmcaConfig
from smca.modeling.depthwise_encoder import DepthwiseBlock, HalvedFinest
from smca.modeling.encoder_block import EncoderBlock, PerLevel
from smca.modeling.input_projection import Tokens
from smca.modeling.precision import at_least_float32, without_autocast


def self_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    heads: int,
    padding: Tensor | None,
    dropout: float,
    explicit: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Multi-head attention: [B, N, C], [B, S, C] -> [B, N, C], and if explicit the probabilities [B, M, N, S]."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    if explicit:
        with without_autocast(query.device):
            parts = (at_least_float32(x) for x in (q, k, v))
            output, probability, _ = explicit_attention(*parts, log_map=None, padding=padding, dropout=dropout)
        return output.transpose(1, 2).flatten(2), probability
    mask = None if padding is None else ~padding[:, None, None]
    output = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
    return output.transpose(1, 2).flatten(2), None


def joined(parts: list[Tensor]) -> Tensor:
    """Probabilities [B, M, n, n] of groups of cells that do not see one another, as one matrix [B, M, S, S]."""
    total, start, rows = sum(part.shape[-1] for part in parts), 0, []
    for part in parts:
        end = start + part.shape[-1]
        rows.append(F.pad(part, (start, total - end)))
        start = end
    return torch.cat(rows, dim=2)


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

    def mix(self, features: Tensor, tokens: Tokens, explicit: bool) -> tuple[Tensor, Tensor | None]:
        groups = (sum(tokens.lengths),) if self.multi else tokens.lengths
        query, key = self.query_key(features + tokens.positions, tokens.lengths).chunk(2, dim=-1)
        value = self.value(features, tokens.lengths)
        paddings = [None] * len(groups) if tokens.padding is None else tokens.padding.split(groups, dim=1)
        parts = zip(query.split(groups, 1), key.split(groups, 1), value.split(groups, 1), paddings, strict=True)
        dropout = self.attention_dropout if self.training else 0.0
        attended = [self_attention(q, k, v, self.heads, pad, dropout, explicit) for q, k, v, pad in parts]
        output = self.output(torch.cat([part for part, _ in attended], dim=1), tokens.lengths)
        probabilities = [probability for _, probability in attended if probability is not None]
        return output, joined(probabilities) if probabilities else None


@dataclass(frozen=True)
class Encoded(Tokens):
    """Tokens as the decoder reads them, and how they came to be, where that was asked for.

    states: what entered the first block and left each one, [B, S, C]; attentions: [B, M, S, S] of each block that
    attends, zero between cells that do not see one another.
    """

    states: tuple[Tensor, ...] = ()
    attentions: tuple[Tensor, ...] = ()


class Encoder(nn.Module):
    """The blocks in the order of `config.encoder`, e.g. 2 intra, 1 multi, 2 intra: Tokens -> Encoded."""

    def __init__(self, config: SmcaConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            DepthwiseBlock(config) if kind == "depthwise" else AttentionBlock(config, multi=kind == "multi")
            for kind in config.encoder
        )
        self.norm = nn.LayerNorm(config.d_model) if config.pre_norm and config.encoder else None
        halves = config.halve_finest and len(config.levels) > 1
        self.halved_finest = HalvedFinest(config.d_model) if halves else None

    def forward(self, tokens: Tokens, explicit: bool = False, states: bool = False) -> Encoded:
        features = tokens.features
        seen, attentions = [features], []
        for block in self.blocks:
            features, attention = block(features, tokens, explicit)
            if states:
                seen.append(features)
            if attention is not None:
                attentions.append(attention)
        if self.norm is not None:
            features = self.norm(features)
        after = dataclasses.replace(tokens, features=features)
        if self.halved_finest is not None:
            after = self.halved_finest(after)
        return Encoded(**vars(after), states=tuple(seen) if states else (), attentions=tuple(attentions))
