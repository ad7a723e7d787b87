"""Parameters, multiply-adds and memory of a model, in all and by part, without running it on real numbers.

GMACs are counted on the explicit path, attention products included, for one image of the given size, by torch's flop
counter on tensors without content (a peer's on random pixels; its sampling and suppression are not counted). Memory is
in MiB of float32: `weights`; `training`, what weights, gradients and AdamW's two moments take whatever the batch;
`activations`, what one image adds to that for the backward pass with fused attention, and `activations_unfused` without
(memory.py); `inference`, weights and the most that one image needs. Of a peer only the first two are counted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from smca.comparison.peers.backbone import whole_images
from smca.comparison.peers.model import PeerForObjectDetection
from smca.errors import ConfigurationError, ModelError
from smca.inference.exported import is_exported, manifest_of
from smca.inference.model_folder import PARTS as FILES
from smca.inference.model_folder import read_config, read_processor
from smca.modeling.configuration import SmcaConfig
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.image_processing import SmcaImageProcessor
from smca.sizes import ImageSize
from smca.training.detector import new_detector
from smca.training.memory import kept_for_backward, most_at_inference
from smca.training.recipe import is_file
from smca.training.recipes import find_recipe

MIB = 2**20
PARTS = ("backbone", "input_projection", "encoder", "decoder", "class_head", "box_head")


def describe(target: str, size: ImageSize | None = None) -> dict[str, Any]:
    """Numbers of a recipe (name or file) or a MODEL; keys parameters_trainable, parameters_total, gmacs, parts, ..."""
    config, default = _configuration(target)
    size = size or default
    if size.height < 1 or size.width < 1:
        raise ConfigurationError(f"size is {size}; allowed: at least 1x1")
    with torch.device("meta"):
        model = new_detector(config)
        pixels = torch.empty(1, 3, size.height, size.width)
    parameters = _parameters(model)
    if isinstance(model, PeerForObjectDetection):
        return _of_peer(model, size)
    parts = {part: _parameters(getattr(model, part)) for part in PARTS}
    memory, kept = _memory(model, pixels)
    gmacs = count_gmacs(model, pixels)
    return {
        **parameters,
        "gmacs": round(sum(gmacs.values()), 3),
        "image_height": size.height,
        "image_width": size.width,
        **{f"memory_{name}_mib": round(amount / MIB, 1) for name, amount in memory.items()},
        "parts": {
            part: {
                **parts[part],
                "gmacs": round(gmacs[part], 3),
                "memory_activations_mib": round(kept[part] / MIB, 1),
            }
            for part in PARTS
        },
    }


def _of_peer(model: PeerForObjectDetection, size: ImageSize) -> dict[str, Any]:
    """Of a peer, whose network looks at real pixels to be counted: the backbone and all the rest."""
    parameters = {"backbone": _parameters(model.backbone), "all": _parameters(model)}
    weights, trained = 4 * _count(model), 4 * _count(model, trainable=True)
    counter = FlopCounterMode(display=False)
    pixels = torch.randn(1, 3, size.height, size.width)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        model.eval().requires_grad_(False)(pixels)
    with torch.no_grad(), FlopCounterMode(display=False) as own:
        whole_images(model.backbone, pixels)
    counts = {"backbone": own.get_total_flops() / 2e9, "all": counter.get_total_flops() / 2e9}
    rest = {key: value - parameters["backbone"][key] for key, value in parameters["all"].items()}
    return {
        **parameters["all"],
        "gmacs": round(counts["all"], 3),
        "image_height": size.height,
        "image_width": size.width,
        "memory_weights_mib": round(weights / MIB, 1),
        "memory_training_mib": round((weights + 3 * trained) / MIB, 1),
        "parts": {
            "backbone": {**parameters["backbone"], "gmacs": round(counts["backbone"], 3)},
            "the rest": {**rest, "gmacs": round(counts["all"] - counts["backbone"], 3)},
        },
    }


def count_gmacs(model: SmcaForObjectDetection, pixels: torch.Tensor) -> dict[str, float]:
    """Multiply-adds on `pixels` by part, in 1e9; the counter wants a model that does not train, and leaves it so."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model.eval().requires_grad_(False)(pixels, intermediates=True)
    counts = counter.get_flop_counts()
    root = type(model).__name__
    return {part: sum(counts.get(f"{root}.{part}", {}).values()) / 2e9 for part in PARTS}


def _memory(model: SmcaForObjectDetection, pixels: torch.Tensor) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes by what they are for, and those of the activations by part."""
    weights, trained = 4 * _count(model), 4 * _count(model, trainable=True)
    constants = sum(buffer.nbytes for buffer in model.buffers())
    kept = kept_for_backward(model, pixels, PARTS)
    memory = {
        "weights": weights,
        "training": weights + 3 * trained,
        "activations": sum(kept.values()),
        "activations_unfused": sum(kept_for_backward(model, pixels, PARTS, fused=False).values()),
        "inference": weights + constants + most_at_inference(model, pixels),
    }
    return memory, kept


def _parameters(module: nn.Module) -> dict[str, int]:
    return {"parameters_trainable": _count(module, trainable=True), "parameters_total": _count(module)}


def _count(module: nn.Module, trainable: bool = False) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)


def _configuration(target: str) -> tuple[SmcaConfig, ImageSize]:
    """The configuration that `target` stands for, and the size its images have: four to three, as most photos."""
    path = Path(target)
    if is_exported(path) and path.is_file():
        manifest = manifest_of(path)
        size = manifest.processor.size
        return manifest.config, _four_to_three(size["shortest_edge"], size["longest_edge"])
    if (path / "config.json").is_file():
        return _of_folder(path)
    if path.exists() and not is_file(target):
        raise ModelError(f"{path} is neither a model folder (no config.json) nor a recipe file (.yaml)")
    if len(path.parts) > 1 and not is_file(target):
        raise ModelError(f"there is no {path}; allowed: a recipe's name, a recipe file (.yaml) or a model folder")
    recipe = find_recipe(target)
    return recipe.config(), _four_to_three(recipe.image_size, recipe.long_side)


def _of_folder(path: Path) -> tuple[SmcaConfig, ImageSize]:
    config = read_config(path)
    processor = read_processor(path) if (path / FILES[2]).is_file() else SmcaImageProcessor.suited_to(config)
    size = processor.size
    return config, _four_to_three(size["shortest_edge"], size["longest_edge"])


def _four_to_three(short_side: int, long_side: int) -> ImageSize:
    return ImageSize(height=short_side, width=min(long_side, short_side * 4 // 3))
