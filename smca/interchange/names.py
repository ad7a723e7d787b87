"""The one table of names: where each tensor of our model lies in a public checkpoint.

The authors' SMCA, single-scale and released multi-scale, and Facebook's DETR name alike what they share. Projections
that their attention stacks as rows of one matrix (query, key, value) are apart here; their 1x1 convolutions are linear
layers here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

LEVELS = ("512", "1024", "2048", "2048_3")
STACKED = "in_proj_"


class Source(NamedTuple):
    """A key of a checkpoint, and which thirds of its rows: (0, 3) is all."""

    key: str
    first: int = 0
    last: int = 3

    def take(self, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The part of `tensor`, without the two axes of a 1x1 kernel where `shape` has none."""
        if tensor.dim() == 0:
            return tensor
        third = len(tensor) // 3
        part = tensor if (self.first, self.last) == (0, 3) else tensor[self.first * third : self.last * third]
        return part.flatten(1) if len(shape) == 2 and part.shape[2:] == (1, 1) else part


Replacement = str | Callable[[re.Match[str]], str]


def _halved(prefix: str) -> Callable[[re.Match[str]], str]:
    """Linear layers of an MLP are every second module here."""
    return lambda found: f"{prefix}{int(found[1]) // 2}."


RENAMED: tuple[tuple[str, Replacement], ...] = (
    (r"^backbone\.body\.", "backbone.0.body."),
    (r"^input_projection\.level_embedding\.weight$", "transformer.level_embed"),
    (r"^decoder\.query_position\.", "query_embed."),
    (r"^class_head\.", "class_embed."),
    (r"^box_head\.mlp\.(\d+)\.", _halved("bbox_embed.layers.")),
    (r"^encoder\.halved_finest\.", "transformer."),
    (r"^encoder\.blocks\.", "transformer.encoder.layers."),
    (r"^decoder\.", "transformer.decoder."),
    (r"(encoder\S+\.(?:norm\d|mix_in|mix_out|query_key|value|output|ffn))\.0\.", r"\1."),
    (r"\.within\.(\d)\.", lambda found: f".self_attn_{8 << int(found[1])}."),
    (r"\.down\.", ".high_to_low."),
    (r"\.up\.", ".low_to_high."),
    (r"\.mix_in\.", ".conv_1."),
    (r"\.mix_out\.", ".conv_2."),
    (r"(encoder\.layers\.\d+)\.(query_key|value|output)\.", r"\1.self_attn.\2."),
    (r"\.self_attention\.", ".self_attn."),
    (r"\.co_attention\.", ".multihead_attn."),
    (r"attn\.(?:query_key|query|key|value)\.", f"attn.{STACKED}"),
    (r"attn\.output\.", "attn.out_proj."),
    (r"\.ffn\.0\.", ".linear1."),
    (r"\.ffn\.3\.", ".linear2."),
    (r"\.centre\.(\d+)\.", _halved(".point1.layers.")),
    (r"\.weight_map\.offset\.", ".point2."),
    (r"\.weight_map\.spread\.", ".point3."),
    (r"\.scale_selection\.", ".point4."),
    (r"\.query_norm\.", ".norm4."),
)
THIRDS = {"query_key": (0, 2), "query": (0, 1), "key": (1, 2), "value": (2, 3)}


def source_of(name: str, levels: int) -> Source:
    """Where the tensor that we call `name` lies in a checkpoint of a model of `levels` levels."""
    projections = ("",) if levels == 1 else tuple(f"_{level}" for level in LEVELS)
    key = re.sub(
        r"^input_projection\.projections\.(\d)\.", lambda found: f"input_proj{projections[int(found[1])]}.", name
    )
    for pattern, replacement in RENAMED:
        key = re.sub(pattern, replacement, key)
    part = next((part for part in reversed(name.split(".")) if part in THIRDS), None)
    return Source(key, *THIRDS[part]) if part and STACKED in key else Source(key)
