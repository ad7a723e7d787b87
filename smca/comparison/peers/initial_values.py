"""The same initial values for all: what transformers' peers have of their own is replaced by what SMCA starts from.

| part | theirs | here |
|---|---|---|
| linear layers and convolutions outside of the backbone | N(0, .02) or N(0, .01) | Xavier uniform, bias 0 |
| norms | RT-DETR, D-FINE: N(0, .01) | weight 1, bias 0 |
| query embeddings | N(0, .02) | N(0, 1) |
| class heads' bias | Conditional, Deformable: 0 | -log(99): probability .01 |
| box heads, last layer | N(0, .02) | 0; width and height -2 where no reference has a size |
| DAB's reference boxes | N(0, .02): all in the middle | even over the image, .12 of it wide |

Sampling offsets, attention weights and gates keep their published values, which are particular; so does the backbone.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from smca.comparison.peers.backbone import SharedBackbone
from smca.modeling.initialization import BOX_SIZE_LOGIT, CLASS_PRIOR, even_points

PARTICULAR = ("sampling_offsets", "attention_weights", "gate", "reg_conf", "pre_bbox_head")
CLASS_HEADS = ("class_labels_classifier", "class_embed", "enc_score_head")
BOX_HEADS = ("bbox_predictor", "bbox_embed", "enc_bbox_head")


@torch.no_grad()
def set_fair_values(network: nn.Module, sizes_from_zero: bool) -> None:
    """Set the initial values; `sizes_from_zero`: whether boxes are predicted without a reference's size."""
    for part in network.modules():
        if isinstance(part, SharedBackbone):
            part.renew()
    for name, part in network.named_modules():
        if ".body." not in name and not any(word in name for word in PARTICULAR):
            _plain(part)
    for name, part in network.named_modules():
        if isinstance(part, nn.Linear) and any(word in name for word in CLASS_HEADS):
            nn.init.constant_(part.bias, -math.log((1 - CLASS_PRIOR) / CLASS_PRIOR))
        if isinstance(part, nn.Linear) and any(word in name for word in BOX_HEADS) and _is_last(network, name):
            nn.init.zeros_(part.weight)
            if sizes_from_zero:
                part.bias[2:] = BOX_SIZE_LOGIT


def _plain(part: nn.Module) -> None:
    if isinstance(part, (nn.Linear, nn.Conv2d)):
        nn.init.xavier_uniform_(part.weight)
        if part.bias is not None:
            nn.init.zeros_(part.bias)
    elif isinstance(part, (nn.LayerNorm, nn.BatchNorm2d, nn.GroupNorm)) and part.weight is not None:
        nn.init.ones_(part.weight)
        nn.init.zeros_(part.bias)
    elif isinstance(part, nn.Embedding):
        part.reset_parameters()


def _is_last(network: nn.Module, name: str) -> bool:
    """Whether a linear layer is the last of its MLP."""
    layers, _, index = name.rpartition(".")
    siblings = network.get_submodule(layers)
    return isinstance(siblings, nn.ModuleList) and int(index) == len(siblings) - 1


@torch.no_grad()
def spread_boxes(embedding: nn.Embedding) -> None:
    """Reference boxes [N, 4] before the sigmoid: centres even over the image."""
    embedding.weight[:, :2] = torch.logit(even_points(len(embedding.weight))).to(embedding.weight)
    embedding.weight[:, 2:] = BOX_SIZE_LOGIT
