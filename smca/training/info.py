"""Parameters, multiply-adds and memory of a model, in all and by part, without running it on real numbers.

GMACs are counted on the explicit path, attention products included, for one image of the given size, by torch's flop
counter on tensors without content. Memory is what weights, gradients and AdamW's two moments take in float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from smca.errors import ConfigurationError, ModelError
from smca.modeling.configuration import SmcaConfig
from smca.modeling.detector import SmcaForObjectDetection
from smca.sizes import ImageSize
from smca.training.recipe import from_yaml
from smca.training.recipes import find_recipe

MIB = 2**20
PARTS = ("backbone", "input_projection", "encoder", "decoder", "class_head", "box_head")


def describe(target: str, size: ImageSize | None = None) -> dict[str, Any]:
    """Numbers of a recipe (name or file) or a MODEL; keys parameters_trainable, parameters_total, gmacs, parts, ..."""
    config, default = _configuration(target)
    size = size or default
    with torch.device("meta"):
        model = SmcaForObjectDetection(config)
    trainable = _count(model, trainable=True)
    parts = {part: _parameters(getattr(model, part)) for part in PARTS}
    gmacs = _gmacs(model, size)
    return {
        "parameters_trainable": trainable,
        "parameters_total": _count(model),
        "gmacs": round(sum(gmacs.values()), 3),
        "image_height": size.height,
        "image_width": size.width,
        "memory_weights_mib": round(4 * _count(model) / MIB, 1),
        "memory_training_mib": round(4 * (_count(model) + 3 * trainable) / MIB, 1),
        "parts": {part: {**parts[part], "gmacs": round(gmacs[part], 3)} for part in PARTS},
    }


def _parameters(module: nn.Module) -> dict[str, int]:
    return {"parameters_trainable": _count(module, trainable=True), "parameters_total": _count(module)}


def _configuration(target: str) -> tuple[SmcaConfig, ImageSize]:
    path = Path(target)
    if (path / "config.json").is_file():
        return SmcaConfig.from_pretrained(path), ImageSize(height=800, width=1066)
    if path.suffix in (".yaml", ".yml"):
        recipe = from_yaml(path)
    elif path.exists():
        raise ModelError(f"{path} is neither a model folder (no config.json) nor a recipe file (.yaml)")
    else:
        recipe = find_recipe(target)
    width = min(recipe.long_side, recipe.image_size * 4 // 3)
    return recipe.config(), ImageSize(height=recipe.image_size, width=width)


def _count(module: nn.Module, trainable: bool = False) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)


def _gmacs(model: SmcaForObjectDetection, size: ImageSize) -> dict[str, float]:
    if size.height < 1 or size.width < 1:
        raise ConfigurationError(f"size is {size.height}x{size.width}; allowed: at least 1x1")
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model.eval().requires_grad_(False)(
            torch.empty(1, 3, size.height, size.width, device="meta"), intermediates=True
        )
    counts = counter.get_flop_counts()
    root = type(model).__name__
    return {part: sum(counts.get(f"{root}.{part}", {}).values()) / 2e9 for part in PARTS}
