"""What a public checkpoint is, and the SmcaConfig of the model that computes the same; shapes decide.

| | authors' single-scale | authors' released multi-scale | Facebook's DETR |
|---|---|---|---|
| told by | `point1` heads | `input_proj_512` | neither |
| levels | C5 | C3 to C6, the first halved | C5 |
| log G | -s^2 d^2 / beta, cells at whole numbers | the same, d^2 times .5, .5, 1, 2 | none: ours, freshly initialised |
| outputs | one a raw COCO id, sigmoid | the same | the same and "no object", softmax |

Stored arguments add what no shape tells: heads (where no `point2` does), beta, dilation. Raises WeightsError for any
other architecture.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from smca.errors import WeightsError
from smca.interchange.checkpoint import Checkpoint

Kind = Literal["single-scale SMCA", "released multi-scale SMCA", "DETR"]
RELEASED = {"spread_form": "inverse-width", "cell_position": "integer"}
MULTI_SCALE = {"levels": ("c3", "c4", "c5", "c6"), "halve_finest": True, "level_factors": (0.5, 0.5, 1.0, 2.0)}
BOTTLENECKS = {6: "resnet50", 23: "resnet101", 36: "resnet152"}
BASIC = {2: "resnet18", 6: "resnet34"}
SPREADS: dict[int, str] = {0: "fixed", 1: "single", 2: "independent", 3: "product"}


@dataclass(frozen=True)
class Layout:
    """The kind of model in a checkpoint, the switches of ours that computes the same, and its class outputs."""

    kind: Kind
    switches: dict[str, Any]
    outputs: int


def layout_of(checkpoint: Checkpoint) -> Layout:
    """Recognise a checkpoint by its names and shapes."""
    tensors, arguments = checkpoint.tensors, checkpoint.arguments
    wanted = ("query_embed.weight", "class_embed.weight", "transformer.decoder.layers.0.linear1.weight")
    lacking = [key for key in wanted if key not in tensors or tensors[key].dim() != 2]
    kind = _kind(tensors)
    if kind is None or lacking:
        raise WeightsError(
            f"the checkpoint is of another architecture: it lacks DETR's {', '.join(lacking or ['input_proj'])}; "
            f"its keys begin {', '.join(list(tensors)[:3])}"
        )
    try:
        return Layout(kind, _switches(kind, tensors, arguments), tensors["class_embed.weight"].shape[0])
    except (TypeError, ValueError) as error:
        raise WeightsError(f"the checkpoint's stored arguments are of no use: {error}") from error


def _switches(kind: Kind, tensors: dict[str, Tensor], arguments: dict[str, Any]) -> dict[str, Any]:
    levels = MULTI_SCALE if kind == "released multi-scale SMCA" else {"levels": ("c5",)}
    block = "depthwise" if kind == "released multi-scale SMCA" else "intra"
    switches = {
        **levels,
        **_modulation(kind, tensors, arguments),
        "encoder": (block,) * _count(tensors, r"transformer\.encoder\.layers\.(\d+)\."),
        "decoder_layers": _count(tensors, r"transformer\.decoder\.layers\.(\d+)\."),
        "d_model": tensors["query_embed.weight"].shape[1],
        "num_queries": tensors["query_embed.weight"].shape[0],
        "ffn_dim": tensors["transformer.decoder.layers.0.linear1.weight"].shape[0],
        "attention_dropout": 0.1,
    }
    if any(key.startswith("backbone.") for key in tensors):
        switches |= {"backbone": _backbone(tensors), "dilation": bool(arguments.get("dilation", False))}
    return switches


def _kind(tensors: dict[str, Tensor]) -> Kind | None:
    if "input_proj_512.weight" in tensors:
        return "released multi-scale SMCA"
    if "input_proj.weight" not in tensors:
        return None
    return "single-scale SMCA" if any(".point1." in key for key in tensors) else "DETR"


def _count(tensors: dict[str, Tensor], pattern: str) -> int:
    """One more than the highest number in keys that begin with the pattern; 0 without any."""
    found = (re.match(pattern, key) for key in tensors)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def _modulation(kind: Kind, tensors: dict[str, Tensor], arguments: dict[str, Any]) -> dict[str, Any]:
    """Heads, spread and centre of E2 to E6; what DETR lacks is ours."""
    heads = int(arguments.get("nheads", 8))
    if kind == "DETR":
        return {"num_heads": heads}
    levels = 4 if kind == "released multi-scale SMCA" else 1
    first = "transformer.decoder.layers.0."
    offsets, spreads = (tensors.get(f"{first}{point}.bias") for point in ("point2", "point3"))
    if offsets is not None:
        heads = max(1, len(offsets) // (2 * levels))
    share = 0 if spreads is None else len(spreads) // (levels * heads)
    return {
        **RELEASED,
        "num_heads": heads,
        "spread": SPREADS.get(share, "independent"),
        "bandwidth": float(arguments.get("smooth", 8)),
        "centre_layers": _count(tensors, rf"{re.escape(first)}point1\.layers\.(\d+)\."),
    }


def _backbone(tensors: dict[str, Tensor]) -> str:
    prefix = r"backbone\.0\.body\."
    blocks = _count(tensors, rf"{prefix}layer3\.(\d+)\.")
    known = BOTTLENECKS if "backbone.0.body.layer1.0.conv3.weight" in tensors else BASIC
    if blocks not in known:
        raise WeightsError(f"the checkpoint's backbone has {blocks} blocks in layer3; allowed: {list(known)} (ResNets)")
    return known[blocks]
