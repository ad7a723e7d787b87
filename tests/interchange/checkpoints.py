"""Small checkpoints in the names of public ones, every key written out as their layouts have it."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.models import get_model

CHANNELS, HEADS, QUERIES, FFN = 16, 2, 5, 8
Shapes = dict[str, tuple[int, ...]]


def _linear(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norms(name: str, count: int) -> Shapes:
    return {f"{name}.norm{n}.{part}": (CHANNELS,) for n in range(1, count + 1) for part in ("weight", "bias")}


def _attention(name: str) -> Shapes:
    joint = {f"{name}.in_proj_weight": (3 * CHANNELS, CHANNELS), f"{name}.in_proj_bias": (3 * CHANNELS,)}
    return {**joint, **_linear(f"{name}.out_proj", CHANNELS, CHANNELS)}


def _feed_forward(name: str) -> Shapes:
    return {**_linear(f"{name}.linear1", FFN, CHANNELS), **_linear(f"{name}.linear2", CHANNELS, FFN)}


def _mlp(name: str, outputs: int) -> Shapes:
    hidden = {**_linear(f"{name}.0", CHANNELS, CHANNELS), **_linear(f"{name}.1", CHANNELS, CHANNELS)}
    return {**hidden, **_linear(f"{name}.2", outputs, CHANNELS)}


def _convolution(name: str, outputs: int, inputs: int, size: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs, size, size), f"{name}.bias": (outputs,)}


def _backbone(name: str) -> Shapes:
    state = get_model(name).state_dict()
    kept = {key: value for key, value in state.items() if not key.startswith("fc.") and "num_batches" not in key}
    return {f"backbone.0.body.{key}": tuple(value.shape) for key, value in kept.items()}


def _heads(outputs: int) -> Shapes:
    position = {"query_embed.weight": (QUERIES, CHANNELS)}
    return {**position, **_linear("class_embed", outputs, CHANNELS), **_mlp("bbox_embed.layers", 4)}


def detr_shapes(backbone: str = "resnet18", outputs: int = 92, layers: int = 2) -> Shapes:
    """Facebook's DETR."""
    shapes = {**_backbone(backbone), **_heads(outputs)}
    deepest = shapes["backbone.0.body.layer4.0.downsample.0.weight"][0]
    shapes |= _convolution("input_proj", CHANNELS, deepest, 1)
    for n in range(layers):
        name = f"transformer.encoder.layers.{n}"
        shapes |= {**_attention(f"{name}.self_attn"), **_feed_forward(name), **_norms(name, 2)}
    for n in range(layers):
        name = f"transformer.decoder.layers.{n}"
        shapes |= {**_attention(f"{name}.self_attn"), **_attention(f"{name}.multihead_attn")}
        shapes |= {**_feed_forward(name), **_norms(name, 3)}
    return {**shapes, "transformer.decoder.norm.weight": (CHANNELS,), "transformer.decoder.norm.bias": (CHANNELS,)}


def _points(layers: int, maps: int, share: int) -> Shapes:
    """What SMCA's decoder has beside DETR's; `maps` a query, `share` spreads a map."""
    shapes = _mlp("transformer.decoder.layers.0.point1.layers", 2)
    for n in range(layers):
        name = f"transformer.decoder.layers.{n}"
        shapes |= {f"{name}.norm4.weight": (CHANNELS,), f"{name}.norm4.bias": (CHANNELS,)}
        shapes |= _linear(f"{name}.point2", 2 * maps, CHANNELS)
        if share:
            shapes |= _linear(f"{name}.point3", share * maps, CHANNELS)
    return shapes


def single_scale_shapes(share: int = 2, backbone: str = "resnet18", outputs: int = 92) -> Shapes:
    """The authors' single-scale model; `share`: 0 to 3 for their types 1 to 4."""
    return {**detr_shapes(backbone, outputs), **_points(2, HEADS, share)}


def multi_scale_shapes() -> Shapes:
    """The authors' released multi-scale model."""
    single = {key: shape for key, shape in single_scale_shapes(backbone="resnet50").items() if "encoder" not in key}
    shapes = {key: shape for key, shape in single.items() if "input_proj" not in key}
    for level, inputs, size in (("512", 512, 1), ("1024", 1024, 1), ("2048", 2048, 1), ("2048_3", 2048, 3)):
        shapes |= _convolution(f"input_proj_{level}", CHANNELS, inputs, size)
    shapes |= {"transformer.level_embed": (4, CHANNELS), **_convolution("transformer.conv", CHANNELS, CHANNELS, 3)}
    for n in range(2):
        name = f"transformer.encoder.layers.{n}"
        for part in ("self_attn_8", "self_attn_16", "self_attn_32", "self_attn_64", "high_to_low", "low_to_high"):
            shapes |= _convolution(f"{name}.{part}", CHANNELS, 1, 7)
        shapes |= {**_convolution(f"{name}.conv_1", CHANNELS, CHANNELS, 1), **_feed_forward(name), **_norms(name, 2)}
        shapes |= _convolution(f"{name}.conv_2", CHANNELS, CHANNELS, 1)
        shapes |= _linear(f"transformer.decoder.layers.{n}.point4", 4, CHANNELS)
    return {**shapes, **_points(2, 4 * HEADS, 2)}


def filled(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    """Small random values, the variances of norms above zero."""
    draw = torch.Generator().manual_seed(seed)
    tensors = {name: 0.1 * torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    return {name: tensor.abs() + 1 if "running_var" in name else tensor for name, tensor in tensors.items()}


def write(path: Path, shapes: Shapes, **arguments: Any) -> Path:
    """A file as training scripts write it."""
    stored = Namespace(**{"nheads": HEADS, **arguments})
    torch.save({"model": filled(shapes), "optimizer": {"state": {}}, "epoch": 49, "args": stored}, path)
    return path
