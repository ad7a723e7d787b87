"""Models small enough for tests, with weights that hide nothing: no zeros or ones, and biases everywhere."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from smca.modeling.configuration import SmcaConfig
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.geometry import BatchSizes, LevelGeometry
from smca.modeling.input_projection import InputProjection, Tokens

Module = TypeVar("Module", bound=nn.Module)

SMALL: dict[str, Any] = {
    "backbone": "plain",
    "backbone_norm": "layer",
    "backbone_widths": (4, 8, 8, 8, 8),
    "backbone_blocks": (0, 1, 0),
    "frozen_stages": 0,
    "encoder": ("intra", "multi"),
    "d_model": 16,
    "num_heads": 2,
    "ffn_dim": 16,
    "decoder_layers": 2,
    "num_queries": 6,
    "num_labels": 3,
    "dropout": 0.0,
}


def small_config(**switches: Any) -> SmcaConfig:
    return SmcaConfig(**{**SMALL, **switches})


def small_model(seed: int = 0, **switches: Any) -> SmcaForObjectDetection:
    """A model in evaluation mode as it starts."""
    torch.manual_seed(seed)
    return SmcaForObjectDetection(small_config(**switches)).eval()


def stirred_model(seed: int = 0, **switches: Any) -> SmcaForObjectDetection:
    """A model in evaluation mode whose every weight is its own."""
    return stir(small_model(seed, **switches))


@torch.no_grad()
def stir(module: Module, amount: float = 0.1) -> Module:
    """Add noise to every parameter and to the statistics of norms, which starts as all zeros and ones otherwise."""
    for parameter in module.parameters():
        parameter.add_(amount * torch.randn_like(parameter))
    for part in module.modules():
        for name in ("running_mean", "bias"):
            statistics = getattr(part, name, None) if hasattr(part, "running_var") else None
            if statistics is not None:
                statistics.add_(amount * torch.randn_like(statistics))
    return module


def random_tokens(
    config: SmcaConfig, sizes: list[tuple[int, int]], offset: float = 0.3, dtype: torch.dtype = torch.float64
) -> Tokens:
    """Tokens of random maps for images of `sizes` (height, width), as the encoder gets them; padding is not zero."""
    batch = BatchSizes(*(torch.tensor(extents) for extents in zip(*sizes, strict=True)))
    levels = {
        name: LevelGeometry(name, stride, channels=3, offset=offset)
        for name, stride in (("c3", 8), ("c4", 16), ("c5", 32))
    }
    tall, wide = int(batch.height.max()), int(batch.width.max())
    maps = {
        name: torch.randn(len(sizes), 3, -(-tall // level.stride), -(-wide // level.stride), dtype=dtype)
        for name, level in levels.items()
    }
    projection = stir(InputProjection(config, levels)).to(dtype)
    return projection(maps, batch, padded=len(set(sizes)) > 1)


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    """Normalised pixels [3, height, width]."""
    return torch.randn(3, height, width, generator=torch.Generator().manual_seed(seed))


def padded_batch(pictures: list[Tensor], fill: float = 0.0) -> tuple[Tensor, Tensor]:
    """pixel_values [B, 3, H, W] and pixel_mask [B, H, W] of pictures in the upper left corner."""
    height, width = max(p.shape[1] for p in pictures), max(p.shape[2] for p in pictures)
    values = torch.full((len(pictures), 3, height, width), fill, dtype=pictures[0].dtype)
    mask = torch.zeros(len(pictures), height, width, dtype=torch.long)
    for index, one in enumerate(pictures):
        values[index, :, : one.shape[1], : one.shape[2]] = one
        mask[index, : one.shape[1], : one.shape[2]] = 1
    return values, mask
