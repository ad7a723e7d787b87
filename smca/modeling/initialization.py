"""Initial values, all in one table; tests/modeling/test_initialization.py measures them.

| part | weight | bias |
|---|---|---|
| every linear layer of encoder, decoder and heads | Xavier uniform | 0 |
| query positions | N(0, 1) | |
| level embedding | N(0, 1) | |
| projections of the levels | Xavier uniform | 0 |
| centre MLP, last layer | Xavier, scaled | shifted: the centres' logits have mean 0 and deviation `CENTRE_STD`, centres cover the image |
| spread | 0 | 1: s is exactly 1, sigma = s sqrt(beta / 2) = two cells |
| offset | 0 | one cell away from the centre, heads all around it |
| class head | Xavier uniform | focal: -log((1 - p) / p), p = .01; softmax: 0 |
| box head, last layer, with the box prior | 0 | 0, 0, -2, -2: boxes start at the centre, .12 of the image wide |

The backbone keeps its library's values. Functions of `transformers.initialization` leave loaded weights alone.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from transformers import initialization as init

from smca.modeling.decoder import Decoder
from smca.modeling.encoder import Encoder
from smca.modeling.heads import BoxHead, ClassHead
from smca.modeling.input_projection import InputProjection
from smca.modeling.weight_maps import WeightMapHead, direction_offsets

CLASS_PRIOR = 0.01
CENTRE_STD = 1.7
BOX_SIZE_LOGIT = -2.0


def initialize(model: nn.Module) -> None:
    """Set the initial values of a detector; a part that is more particular than Xavier comes after it."""
    for part in model.modules():
        if isinstance(part, (Encoder, Decoder, InputProjection, BoxHead, ClassHead)):
            _xavier(part)
    for kind, set_values in PARTICULAR.items():
        for part in model.modules():
            if isinstance(part, kind):
                set_values(part)


def _xavier(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Conv2d)):
            init.xavier_uniform_(part.weight)
            init.zeros_(part.bias)


def _embeddings(part: nn.Embedding) -> None:
    init.normal_(part.weight)


def _class_prior(head: ClassHead) -> None:
    if head.focal:
        init.constant_(head.bias, -math.log((1 - CLASS_PRIOR) / CLASS_PRIOR))


def _box_prior(head: BoxHead) -> None:
    if head.box_prior:
        last = head.mlp[-1]
        init.zeros_(last.weight)
        init.copy_(last.bias, torch.tensor([0.0, 0.0, BOX_SIZE_LOGIT, BOX_SIZE_LOGIT], device=last.bias.device))


def _spread_centres(decoder: Decoder) -> None:
    """Shift and scale the centre MLP's last layer so that the logits of the centres have mean 0 and CENTRE_STD."""
    layer = decoder.layers[0]
    if layer.centre is None:
        return
    last = layer.centre[-1]
    logit = layer.centre(layer.query_norm(decoder.query_position.weight))
    scale = CENTRE_STD / logit.std(dim=0, correction=0).clamp(min=1e-3)
    init.copy_(last.weight, last.weight * scale[:, None])
    init.copy_(last.bias, -logit.mean(dim=0) * scale)


def _weight_maps(head: WeightMapHead) -> None:
    if head.spread is not None:
        init.zeros_(head.spread.weight)
        init.ones_(head.spread.bias)
    if head.offset is not None:
        init.zeros_(head.offset.weight)
        init.copy_(head.offset.bias, direction_offsets(head.levels, head.heads, head.offset.bias.device))


PARTICULAR = {
    nn.Embedding: _embeddings,
    WeightMapHead: _weight_maps,
    Decoder: _spread_centres,
    ClassHead: _class_prior,
    BoxHead: _box_prior,
}
