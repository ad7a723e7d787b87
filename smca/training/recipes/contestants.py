"""Any system of the comparison at any size: `contestant("deformable-detr", "tiny")`, recipe `deformable-detr-tiny`.

A size decides backbone, widths, layers, queries, image size, augmentation, schedule and learning rates for all; a
system decides what it is. "tiny" and "small" are smca-tiny's and smca-small's, "r50" and "r101" the paper's. Systems
with one level read stride 16 at "tiny" and "small" (C4) and C5 at the others. SMCA is the paper's at every size: what
our small recipes add to it (re-centring, groups of queries) is left out. The peers' published optimisers and
schedules are their own (SGD for Faster R-CNN, FCOS and TSP's convolutions); here all train alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smca.comparison.peers.configuration import PeerConfig
from smca.errors import ConfigurationError, nearest
from smca.training.recipe import Origin, Recipe, from_yaml, is_file
from smca.training.recipes import paper, rows, small

SIZES: dict[str, Callable[[], Recipe]] = {
    "tiny": small.smca_tiny,
    "small": small.smca_small,
    "r50": paper.smca_r50,
    "r101": paper.smca_r101,
}
PAPER: dict[str, Any] = {"recentre": False, "query_groups": 1}
DETR: dict[str, Any] = {"modulation": "none", "box_prior": False}
OURS: dict[str, dict[str, Any]] = {
    "smca": {},
    "smca-single-scale": {},
    "smca-head-shared": {"modulation": "head-shared"},
    "detr": DETR,
    "detr-dc5": {**DETR, "levels": ("c5",), "dilation": True},
    "up-detr": DETR,
}
PYRAMID, CANDIDATES = {"pyramid_channels": 96}, {"candidates": 150}  # at "tiny" and "small"
ANCHORS = {**PYRAMID, "anchor_scale": 2.0}
THREE, FOUR = ("c3", "c4", "c5"), ("c3", "c4", "c5", "c6")
PEERS: dict[str, dict[str, Any]] = {
    "conditional-detr": {},
    "deformable-detr": {"levels": FOUR},
    "deformable-detr-single-scale": {"ffn_dim": None},
    "dab-detr": {},
    "rt-detr-v2": {"levels": THREE, "dropout": 0.0, "attention_dropout": 0.0},
    "d-fine": {"levels": THREE, "dropout": 0.0, "attention_dropout": 0.0},
    "faster-rcnn": {"levels": THREE, **ANCHORS},
    "fcos": {"levels": THREE, **PYRAMID},
    "tsp-fcos": {"levels": THREE, **PYRAMID, **CANDIDATES},
    "tsp-rcnn": {"levels": THREE, **ANCHORS, **CANDIDATES},
}
CONTESTANTS = (*OURS, *PEERS)
NETWORK = ("backbone", "backbone_norm", "backbone_widths", "backbone_blocks", "frozen_stages")
WIDTHS = ("d_model", "num_heads", "ffn_dim", "decoder_layers", "num_queries", "dropout")
AT_SMALL_SIZES = (*ANCHORS, *CANDIDATES)


def contestant(name: str, size: str) -> Recipe:
    """The recipe of a system at a size, or that of a YAML file; ConfigurationError lists all names."""
    if is_file(name):
        return from_yaml(Path(name))
    if name not in CONTESTANTS:
        hint = nearest(name, CONTESTANTS)
        raise ConfigurationError(
            f"no system '{name}' to compare.{hint} Allowed: {', '.join(CONTESTANTS)}, or a YAML file"
        )
    base = SIZES[size]()
    base = dataclasses.replace(base, model={**base.model, **PAPER})
    model = _ours(name, size, base) if name in OURS else _peer(name, size, base)
    kind = base.model_type if name in OURS else PeerConfig.model_type
    origin = Origin(f"{name} at size {size}, as `smca compare` trains it", hardware=base.hardware)
    return dataclasses.replace(base, name=f"{name}-{size}", origin=origin, model=model, model_type=kind)


def by_full_name(full: str) -> Recipe | None:
    """The recipe "NAME-SIZE", or None for a name that is not of that form."""
    name, _, size = full.rpartition("-")
    return contestant(name, size) if name in CONTESTANTS and size in SIZES else None


def _ours(name: str, size: str, base: Recipe) -> dict[str, Any]:
    return dict(base.model) if name == "smca" else {**base.model, **_one_level(size), **OURS[name]}


def _one_level(size: str) -> dict[str, Any]:
    if size in ("r50", "r101"):
        return rows.SINGLE_SCALE
    return {"levels": ("c4",), "encoder": ("intra", "intra")}


def _peer(name: str, size: str, base: Recipe) -> dict[str, Any]:
    """The size's network and widths; one level unless the system has more."""
    whole = base.config()
    shared = {key: getattr(whole, key) for key in (*NETWORK, *WIDTHS)}
    layers = {"encoder": ("intra",) * (6 if size in ("r50", "r101") else 2)}
    one = _one_level(size)
    own: dict[str, Any] = {"levels": one["levels"], "attention_dropout": 0.0, **PEERS[name]}
    if size in ("r50", "r101"):
        own = {key: value for key, value in own.items() if key not in AT_SMALL_SIZES}
    if len(own["levels"]) == 1 and own.pop("ffn_dim", 0) is not None and "ffn_dim" in one:
        own["ffn_dim"] = one["ffn_dim"]  # as DETR; Deformable DETR keeps the multi-scale width
    return {"peer": name.removesuffix("-single-scale"), **shared, **layers, **own}
