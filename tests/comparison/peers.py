"""Peers small enough for tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from smca.comparison.peers.configuration import PeerConfig
from smca.comparison.peers.model import BUILDERS, PeerForObjectDetection
from smca.training.recipes.contestants import PEERS, contestant

NAMES = tuple(BUILDERS)
CLASSES = ("a", "b", "c")
SMALL: dict[str, Any] = {
    "backbone_widths": (8, 8, 16, 16, 16),
    "d_model": 64,
    "num_heads": 4,
    "ffn_dim": 32,
    "decoder_layers": 2,
    "num_queries": 12,
    "pyramid_channels": 64,
    "candidates": 30,
}


def small_peer(name: str, seed: int = 0, **switches: Any) -> PeerForObjectDetection:
    """A peer with random weights, ready to look."""
    torch.manual_seed(seed)
    recipe = contestant(name if name in PEERS else "fcos", "tiny")
    model = {**recipe.model, **SMALL, **switches}
    labels = dict(enumerate(CLASSES))
    config = PeerConfig(**model, id2label=labels, label2id={name: label for label, name in labels.items()})
    return PeerForObjectDetection(config).eval()


def batch(*sizes: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Pixels and mask of images of (height, width), padded with values that would be seen at once."""
    height, width = (max(size[axis] for size in sizes) for axis in (0, 1))
    draw = torch.Generator().manual_seed(3)
    pixels = torch.full((len(sizes), 3, height, width), 50.0)
    mask = torch.zeros(len(sizes), height, width, dtype=torch.int64)
    for image, (rows, columns) in enumerate(sizes):
        pixels[image, :, :rows, :columns] = torch.randn(3, rows, columns, generator=draw)
        mask[image, :rows, :columns] = 1
    return pixels, mask


def labels(*counts: int) -> list[dict[str, Tensor]]:
    """So many boxes for each image."""
    draw = torch.Generator().manual_seed(5)
    return [
        {
            "class_labels": torch.randint(0, len(CLASSES), (count,), generator=draw),
            "boxes": torch.cat(
                [0.3 + 0.4 * torch.rand(count, 2, generator=draw), 0.2 + 0.3 * torch.rand(count, 2, generator=draw)],
                dim=1,
            ),
        }
        for count in counts
    ]
