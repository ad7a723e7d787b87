"""The decoder: object queries, self-attention, modulated co-attention, feed-forward, layer by layer.

    O_q = norm_q(target + query position)                      at the layer's input; feeds E2, E3, E6, E7
    target = norm1(target + self-attention(target + query position))
    target = norm2(target + co-attention(target + query position, tokens))                                (E5, E8)
    target = norm3(target + FFN(target))

A `Reference` (reference.py) says where each query looks. Layer 0 makes it from O_q (E2) and every layer hands it on;
since target = 0 at layer 0, it is a learned anchor, the same for every image. With `recentre` (ours) a layer hands on
the box it predicts instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from smca.modeling.co_attention import CoAttention, Memory
from smca.modeling.configuration import SmcaConfig
from smca.modeling.encoder import self_attention
from smca.modeling.encoder_block import FeedForward
from smca.modeling.heads import BoxHead
from smca.modeling.input_projection import Tokens
from smca.modeling.reference import BoxPosition, Reference
from smca.modeling.scale_selection import ScaleSelection
from smca.modeling.weight_maps import CentreHead, WeightMap, WeightMapHead


@dataclass
class LayerTrace:
    """What one layer saw: by level the weight maps, the co-attention and the plain one; scale weights; self-attention.

    The attentions (of the queries among themselves [B, M, N, N]) are there in the explicit form only.
    """

    weight_maps: list[WeightMap] | None = None
    co_attention: list[Tensor] = field(default_factory=list)
    plain_attention: list[Tensor] = field(default_factory=list)
    scale_weights: Tensor | None = None
    self_attention: Tensor | None = None

    def whole_co_attention(self) -> Tensor:
        """E8 over all levels at once: alpha_l times the attention of level l, [B, M, N, S]; rows sum to 1."""
        levels = [level.flatten(-2).transpose(1, 2) for level in self.co_attention]
        if self.scale_weights is None:
            return torch.cat(levels, dim=-1) / len(levels)
        shares = self.scale_weights[:, None].split(1, dim=-1)
        return torch.cat([share * level for share, level in zip(shares, levels, strict=True)], dim=-1)


class SelfAttention(nn.Module):
    """Attention among the queries: Q = K = target + position, V = target; probabilities in the explicit form.

    Of several `groups` of queries, one after the other and equally large, each attends to itself alone.
    """

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query_key = nn.Linear(channels, 2 * channels)
        self.value = nn.Linear(channels, channels)
        self.output = nn.Linear(channels, channels)

    def forward(
        self, target: Tensor, position: Tensor, explicit: bool, groups: int = 1
    ) -> tuple[Tensor, Tensor | None]:
        if groups > 1:
            apart = (part.unflatten(1, (groups, -1)).flatten(0, 1) for part in (target, position))
            output, probability = self(*apart, explicit)
            return output.unflatten(0, (-1, groups)).flatten(1, 2), probability
        query, key = self.query_key(target + position).chunk(2, dim=-1)
        dropout = self.dropout if self.training else 0.0
        value = self.value(target)
        attended, probability = self_attention(query, key, value, self.heads, None, dropout, explicit)
        return self.output(attended), probability


class DecoderLayer(GradientCheckpointingLayer):
    """One layer, a unit of activation checkpointing; the first owns the centre MLP."""

    def __init__(self, config: SmcaConfig, first: bool) -> None:
        super().__init__()
        channels = config.d_model
        modulated = config.modulation != "none"
        self.pre_norm = config.pre_norm
        centre = CentreHead(channels, config.centre_layers) if first and config.uses_centre else None
        weight_map = WeightMapHead(config) if modulated else None
        selects = config.scale_selection and len(config.levels) > 1
        scale_selection = ScaleSelection(channels, len(config.levels)) if selects else None
        heads = (head for head in (centre, weight_map, scale_selection) if head is not None)
        reads = any(list(head.parameters()) for head in heads)  # a norm that nothing reads would have no gradient
        self.query_norm = nn.LayerNorm(channels) if config.query_norm and reads else nn.Identity()
        self.centre, self.weight_map, self.scale_selection = centre, weight_map, scale_selection
        self.self_attention = SelfAttention(channels, config.num_heads, config.attention_dropout)
        self.co_attention = CoAttention(channels, config.num_heads, config.attention_dropout)
        self.ffn = FeedForward(channels, config.ffn_dim, config.dropout)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        target: Tensor,
        position: Tensor,
        reference: Reference | None,
        memory: Memory,
        explicit: bool,
        groups: int = 1,
    ) -> tuple[Tensor, Reference | None, LayerTrace]:
        reference, trace = self._aim(self.query_norm(target + position), reference, memory.tokens)

        def confer(of: Tensor) -> Tensor:
            attended, trace.self_attention = self.self_attention(of, position, explicit, groups)
            return attended

        def look(of: Tensor) -> Tensor:
            attended = self.co_attention(of + position, memory, trace.weight_maps, trace.scale_weights, explicit)
            trace.co_attention, trace.plain_attention = attended.attention, attended.plain
            return attended.output

        steps = (
            (self.norm1, confer),
            (self.norm2, look),
            (self.norm3, self.ffn),
        )
        for norm, step in steps:
            if self.pre_norm:
                target = target + self.dropout(step(norm(target)))
            else:
                target = norm(target + self.dropout(step(target)))
        return target, reference, trace

    def _aim(self, query: Tensor, reference: Reference | None, tokens: Tokens) -> tuple[Reference | None, LayerTrace]:
        """What O_q decides before anything is attended to: E2 in the first layer, E3, E6 and E7."""
        if self.centre is not None:
            reference = Reference(self.centre(query))
        trace = LayerTrace()
        if self.weight_map is not None and reference is not None:
            trace.weight_maps = self.weight_map(query, reference.centre_logit, tokens.scales)
        if self.scale_selection is not None:
            trace.scale_weights = self.scale_selection(query)
        return reference, trace


@dataclass
class Decoded:
    """Normalised outputs of all layers [L, B, N, C], each layer's reference and trace."""

    outputs: Tensor
    references: list[Reference | None]
    traces: list[LayerTrace]

    @property
    def centre_logits(self) -> Tensor | None:
        """Logits [L, B, N, 2] of the centres that the layers looked from; None without a centre."""
        found = [reference.centre_logit for reference in self.references if reference is not None]
        return torch.stack(found) if found else None


class Decoder(nn.Module):
    """Query embeddings and layers: Tokens -> Decoded."""

    def __init__(self, config: SmcaConfig) -> None:
        super().__init__()
        self.queries = config.num_queries
        self.query_position = nn.Embedding(config.query_groups * config.num_queries, config.d_model)
        self.layers = nn.ModuleList(DecoderLayer(config, first=index == 0) for index in range(config.decoder_layers))
        self.norm = nn.LayerNorm(config.d_model)
        self.head_width = config.d_model // config.num_heads
        recentres = config.recentre and config.uses_centre and config.decoder_layers > 1
        self.box_position = BoxPosition(config.d_model) if recentres else None

    def forward(
        self,
        tokens: Tokens,
        box_head: BoxHead,
        explicit: bool = False,
        prompt: Tensor | None = None,
        groups: int = 1,
    ) -> Decoded:
        """`groups` of queries do not see one another: query_groups of N each or, with a `prompt`, parts of the first N.

        The prompt [B, N, C] is added to the queries' positions.
        """
        if prompt is None:
            query_position = self.query_position.weight[: groups * self.queries]
        else:
            query_position = self.query_position.weight[: self.queries] + prompt
        position = query_position.expand(tokens.features.shape[0], -1, -1)
        target, reference = torch.zeros_like(position), None
        memory = Memory.of(tokens, self.head_width)
        outputs, references, traces = [], [], []
        for layer in self.layers:
            target, reference, trace = layer(target, position, reference, memory, explicit, groups)
            outputs.append(self.norm(target))
            references.append(reference)
            traces.append(trace)
            if self.box_position is not None and reference is not None and layer is not self.layers[-1]:
                reference = Reference.of_box(box_head, outputs[-1], reference)
                position = query_position + self.box_position(reference)
        return Decoded(torch.stack(outputs), references, traces)
