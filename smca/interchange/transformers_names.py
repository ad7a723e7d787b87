"""A DETR as transformers saves it (its names of before version 5 too) -> the names of Facebook's own checkpoint."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from smca.interchange.checkpoint import Checkpoint

RENAMED = (
    (r"^model\.backbone\.(conv_encoder\.)?model\.", "backbone.0.body."),
    (r"^model\.query_position_embeddings\.", "query_embed."),
    (r"^model\.input_projection\.", "input_proj."),
    (r"^class_labels_classifier\.", "class_embed."),
    (r"^bbox_predictor\.", "bbox_embed."),
    (r"^model\.(encoder|decoder)\.", r"transformer.\1."),
    (r"(encoder\.layers\.\d+)\.final_layer_norm\.", r"\1.norm2."),
    (r"(decoder\.layers\.\d+)\.final_layer_norm\.", r"\1.norm3."),
    (r"\.self_attn_layer_norm\.", ".norm1."),
    (r"\.encoder_attn_layer_norm\.", ".norm2."),
    (r"\.decoder\.layernorm\.", ".decoder.norm."),
    (r"\.encoder_attn\.", ".multihead_attn."),
    (r"\.o_proj\.", ".out_proj."),
    (r"\.(mlp\.)?fc([12])\.", r".linear\2."),
)
PROJECTION = re.compile(r"(.*attn)\.([qkv])_proj\.(weight|bias)")


def is_of_transformers(tensors: dict[str, Tensor]) -> bool:
    """Whether the names are those of transformers' DETR."""
    return "class_labels_classifier.weight" in tensors


def in_facebooks_names(checkpoint: Checkpoint) -> Checkpoint:
    """The same weights; query, key and value are rows of one matrix there."""
    tensors: dict[str, Tensor] = {}
    stacked: dict[str, dict[str, Tensor]] = {}
    for name, tensor in ((_renamed(key), value) for key, value in checkpoint.tensors.items()):
        if found := PROJECTION.fullmatch(name):
            stacked.setdefault(f"{found[1]}.in_proj_{found[3]}", {})[found[2]] = tensor
        else:
            tensors[name] = tensor
    whole = {name: torch.cat([parts[part] for part in "qkv"]) for name, parts in stacked.items() if len(parts) == 3}
    return Checkpoint({**tensors, **whole}, checkpoint.arguments)


def _renamed(name: str) -> str:
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    return name
