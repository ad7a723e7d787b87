"""Random batches for the tests of the criterion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Outputs of every layer, and what the images show."""

    logits: Tensor
    boxes: Tensor
    targets: list[dict[str, Tensor]]


def random_boxes(*shape: int, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> Tensor:
    """(cx, cy, w, h) of positive size."""
    centre = torch.rand(*shape, 2, generator=generator, dtype=dtype)
    return torch.cat([centre, 0.02 + 0.5 * torch.rand(*shape, 2, generator=generator, dtype=dtype)], dim=-1)


def random_batch(
    counts: Sequence[int],
    *,
    layers: int = 2,
    queries: int = 6,
    classes: int = 4,
    outputs: int | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    shape = (layers, len(counts), queries, outputs or classes)
    logits = 2 * torch.randn(shape, generator=generator, dtype=dtype)
    boxes = random_boxes(*shape[:3], generator=generator, dtype=dtype)
    targets = [
        {
            "class_labels": torch.randint(classes, (count,), generator=generator),
            "boxes": random_boxes(count, generator=generator, dtype=dtype),
        }
        for count in counts
    ]
    return Batch(logits.requires_grad_(), boxes.requires_grad_(), targets)
