"""Initial values, all in one table; tests/modeling/test_initialization.py measures them.

| part | weight | bias |
|---|---|---|
| every linear layer of encoder, decoder and heads | Xavier uniform | 0 |
| layer norms | 1 | 0 |
| query positions | N(0, 1) | |
| level embedding | N(0, 1) | |
| projections of the levels | Xavier uniform | 0 |
| centre MLP, last layer | fitted to the query positions: centres cover the image evenly | fitted |
| spread | 0 | 1: s is exactly 1, sigma = s sqrt(beta / 2) = two cells |
| offset | 0 | one cell away from the centre, heads all around it |
| class head | Xavier uniform | focal: -log((1 - p) / p), p = .01; softmax: 0 |
| a box's part of its query's position (`recentre`) | 0 | 0 |
| box head, last layer, with the box prior | 0 | 0, 0, -2, -2: boxes start at the centre, .12 of the image wide |

The backbone keeps its library's values; one that was built without numbers, to be loaded, gets them for what its file
lacks. Functions of `transformers.initialization` leave loaded weights alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from transformers import initialization as init

from smca.modeling.backbone import Backbone, build_trunk
from smca.modeling.decoder import Decoder, DecoderLayer
from smca.modeling.encoder import Encoder
from smca.modeling.heads import BoxHead, ClassHead
from smca.modeling.input_projection import InputProjection
from smca.modeling.reference import BoxPosition
from smca.modeling.weight_maps import WeightMapHead, direction_offsets

CLASS_PRIOR = 0.01
RIDGE = 0.03
MARGIN = 0.02
BOX_SIZE_LOGIT = -2.0


def initialize(model: nn.Module) -> None:
    """Set the initial values of a detector; a part that is more particular than Xavier comes after it."""
    parts = list(model.modules())
    for part in parts:
        if isinstance(part, Backbone):
            _library_values(part)
    for part in parts:
        if isinstance(part, (Encoder, Decoder, InputProjection, BoxHead, ClassHead)):
            _xavier(part)
    for part in parts:
        if isinstance(part, nn.Embedding):
            init.normal_(part.weight)
    for part in parts:
        _particular(part)


def _library_values(backbone: Backbone) -> None:
    """Copy from a new backbone what one built empty lacks, statistics and tables of no file included."""
    tensors = (*backbone.body.named_parameters(), *backbone.body.named_buffers())
    lacking = {name: tensor for name, tensor in tensors if not getattr(tensor, "_is_hf_initialized", False)}
    if backbone.empty and lacking:
        new = build_trunk(backbone.config).network
        values = {**dict(new.named_parameters()), **dict(new.named_buffers())}
        for name, tensor in lacking.items():
            init.copy_(tensor, values[name])


def _xavier(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.LayerNorm):
            init.ones_(part.weight)
            init.zeros_(part.bias)
        if isinstance(part, (nn.Linear, nn.Conv2d)):
            init.xavier_uniform_(part.weight)
            if part.bias is not None:
                init.zeros_(part.bias)


def _particular(part: nn.Module) -> None:
    if isinstance(part, WeightMapHead):
        _weight_maps(part)
    elif isinstance(part, Decoder):
        spread_centres(part)
    elif isinstance(part, BoxPosition):
        init.zeros_(part.linear.weight)
    elif isinstance(part, ClassHead):
        _class_prior(part)
    elif isinstance(part, BoxHead):
        _box_prior(part)


def _last_linear(mlp: nn.Sequential) -> nn.Linear:
    last = mlp[-1]
    if not isinstance(last, nn.Linear):
        raise TypeError(f"an MLP ends in a linear layer, not in {type(last).__name__}")
    return last


def _class_prior(head: ClassHead) -> None:
    if head.focal:
        init.constant_(head.bias, -math.log((1 - CLASS_PRIOR) / CLASS_PRIOR))


def _box_prior(head: BoxHead) -> None:
    if head.box_prior:
        last = _last_linear(head.mlp)
        init.zeros_(last.weight)
        init.copy_(last.bias, torch.tensor([0.0, 0.0, BOX_SIZE_LOGIT, BOX_SIZE_LOGIT], device=last.bias.device))


def spread_centres(decoder: Decoder) -> None:
    """Fit the centre MLP's last layer so that the queries' centres cover the image evenly (ridge regression)."""
    layer = decoder.layers[0]
    if not isinstance(layer, DecoderLayer) or layer.centre is None:
        return
    last = _last_linear(layer.centre)
    features = nn.Sequential(*list(layer.centre)[:-1])(layer.query_norm(decoder.query_position.weight)).double()
    wanted = torch.logit(even_points(len(features)).to(features))
    spread = features - features.mean(dim=0)
    gram = spread @ spread.T
    ridge = RIDGE * gram.diagonal().mean().clamp(min=RIDGE)
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    weight = torch.linalg.solve(gram + ridge * eye, wanted - wanted.mean(dim=0)).T @ spread
    init.copy_(last.weight, weight.to(last.weight))
    init.copy_(last.bias, (wanted.mean(dim=0) - weight @ features.mean(dim=0)).to(last.bias))


def even_points(count: int) -> Tensor:
    """`count` points [count, 2] in (0, 1)^2 without gaps or clusters: the R2 sequence of the plastic number."""
    plastic = 1.32471795724474602596
    index = torch.arange(1, count + 1, dtype=torch.float64)[:, None]
    step = torch.tensor([1 / plastic, 1 / plastic**2], dtype=torch.float64)
    return ((0.5 + index * step) % 1).clamp(MARGIN, 1 - MARGIN)


def _weight_maps(head: WeightMapHead) -> None:
    if head.spread is not None:
        init.zeros_(head.spread.weight)
        init.ones_(head.spread.bias)
    if head.offset is not None:
        init.zeros_(head.offset.weight)
        init.copy_(head.offset.bias, direction_offsets(head.levels, head.heads, head.offset.bias.device))
