"""Names of the authors' public checkpoints in ours, and the golden numbers computed with them."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor

RENAMED = [
    (r"^backbone\.0\.body\.", "backbone.body."),
    (r"^input_proj\.", "input_projection.projections.0."),
    (r"^query_embed\.", "decoder.query_position."),
    (r"^class_embed\.", "class_head."),
    (r"^transformer\.encoder\.layers\.", "encoder.blocks."),
    (r"^transformer\.decoder\.", "decoder."),
    (r"^(encoder\S+)\.self_attn\.out_proj\.", r"\1.output.0."),
    (r"^(encoder\S+)\.linear1\.", r"\1.ffn.0.0."),
    (r"^(encoder\S+)\.linear2\.", r"\1.ffn.0.3."),
    (r"^(encoder\S+\.norm\d)\.", r"\1.0."),
    (r"\.self_attn\.out_proj\.", ".self_attention.output."),
    (r"\.multihead_attn\.out_proj\.", ".co_attention.output."),
    (r"\.linear1\.", ".ffn.0."),
    (r"\.linear2\.", ".ffn.3."),
    (r"\.norm4\.", ".query_norm."),
    (r"\.point2\.", ".weight_map.offset."),
    (r"\.point3\.", ".weight_map.spread."),
]
MLPS = [(r"\.point1\.layers\.(\d)\.", ".centre."), (r"^bbox_embed\.layers\.(\d)\.", "box_head.mlp.")]
SPREADS = {"type1": "fixed", "type2": "single", "type3": "independent"}


def our_name(name: str) -> str:
    """The name of a parameter that both have as it is."""
    for pattern, ours in MLPS:
        name = re.sub(pattern, lambda found, ours=ours: f"{ours}{2 * int(found[1])}.", name)
    for pattern, ours in RENAMED:
        name = re.sub(pattern, ours, name)
    return name


def our_weights(official: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Weights of one of our models; joint query-key-value projections are taken apart."""
    ours: dict[str, Tensor] = {}
    for name, value in official.items():
        tensor = torch.from_numpy(value)
        if ".in_proj_" not in name:
            ours[our_name(name)] = tensor
            continue
        path, kind = name.rsplit(".in_proj_", 1)
        query, key, value_part = tensor.chunk(3)
        if "multihead_attn" in path:
            block = path.replace("transformer.", "").replace("multihead_attn", "co_attention")
            parts = {f"{block}.query": query, f"{block}.key": key, f"{block}.value": value_part}
        elif "encoder" in path:
            block = path.replace("transformer.encoder.layers", "encoder.blocks").removesuffix(".self_attn")
            parts = {f"{block}.query_key.0": torch.cat([query, key]), f"{block}.value.0": value_part}
        else:
            block = path.replace("transformer.", "").replace("self_attn", "self_attention")
            parts = {f"{block}.query_key": torch.cat([query, key]), f"{block}.value": value_part}
        ours |= {f"{module}.{kind}": part for module, part in parts.items()}
    return ours


def our_switches(config: dict[str, Any]) -> dict[str, Any]:
    """SmcaConfig's switches for a model of the authors: what the paper leaves open is set as their code has it."""
    return {
        "levels": ("c5",),
        "encoder": ("intra",) * config["enc_layers"],
        "decoder_layers": config["dec_layers"],
        "d_model": config["hidden_dim"],
        "num_heads": config["nheads"],
        "ffn_dim": config["dim_feedforward"],
        "num_queries": config["num_queries"],
        "num_labels": config["num_classes"] + 1,
        "bandwidth": float(config["smooth"]),
        "spread": SPREADS[config["dynamic_scale"]],
        "spread_form": "inverse-width",
        "cell_position": "integer",
        "dropout": 0.0,
    }


class Golden:
    """One golden case: its description, weights by the recipe and expected numbers."""

    def __init__(self, folder: Path, name: str) -> None:
        self.case: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
        self.expected: dict[str, np.ndarray] = load_file(folder / f"{name}.safetensors")
        self.recipe = _load(folder / "recipe.py")
        self.seed: int = self.case["seed"]

    def weights(self) -> dict[str, Tensor]:
        return our_weights(self.recipe.official_weights(self.case["shapes"], self.seed))

    def normal(self, name: str, shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(self.recipe._normal(name, shape, self.seed))

    def images(self) -> list[Tensor]:
        return [torch.from_numpy(image) for image in self.recipe.golden_images(self.case["sizes"], self.seed)]


def _load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_recipe", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
