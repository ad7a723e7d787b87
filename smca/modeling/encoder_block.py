"""What all encoder blocks have in common: residual steps, norms, a feed-forward network, weights shared or by level.

    x = norm1(x + mix(x));  x = norm2(x + FFN(x))          (pre_norm: x + mix(norm1(x)), ...)

How cells exchange content (`mix`) is the kind of block: attention (encoder.py) or convolution (depthwise_encoder.py).
A block is a unit of activation checkpointing.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

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


class EncoderBlock(GradientCheckpointingLayer):
    """Features [B, S, C] and the Tokens they belong to -> what `mix` returns of them; a kind of block adds `mix`."""

    def __init__(self, config: SmcaConfig) -> None:
        super().__init__()
        levels, channels = len(config.levels), config.d_model
        self.mixers = 1 if config.shared_attention else levels
        feed_forwards = 1 if config.shared_ffn else levels
        self.pre_norm = config.pre_norm
        self.dropout = nn.Dropout(config.dropout)
        self.norm1 = PerLevel(lambda: nn.LayerNorm(channels), self.mixers)
        self.ffn = PerLevel(lambda: FeedForward(channels, config.ffn_dim, config.dropout), feed_forwards)
        self.norm2 = PerLevel(lambda: nn.LayerNorm(channels), feed_forwards)

    @abstractmethod
    def mix(self, features: Tensor, tokens: Tokens, explicit: bool) -> tuple[Tensor, Tensor | None]:
        """What each cell takes from others, [B, S, C], padding reaches nothing; and the explicit attention, if any."""

    def forward(self, features: Tensor, tokens: Tokens, explicit: bool) -> tuple[Tensor, Tensor | None]:
        lengths = tokens.lengths
        if self.pre_norm:
            mixed, attention = self.mix(self.norm1(features, lengths), tokens, explicit)
            features = features + self.dropout(mixed)
            return features + self.dropout(self.ffn(self.norm2(features, lengths), lengths)), attention
        mixed, attention = self.mix(features, tokens, explicit)
        features = self.norm1(features + self.dropout(mixed), lengths)
        return self.norm2(features + self.dropout(self.ffn(features, lengths)), lengths), attention
