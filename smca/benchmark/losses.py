"""Matching and loss of a batch, forward and backward, against the way of the public code.

That way, here transformers' criterion of Deformable DETR, matches layer by layer and compares the queries of an image
with the boxes of the whole batch.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import torch
from torch import Tensor
from transformers.loss.loss_deformable_detr import DeformableDetrForObjectDetectionLoss

from smca.benchmark.timing import Clock, Ratio, Work, in_turn, ratio_of, wall_clock
from smca.criterion.losses import SetCriterion

LAYERS, IMAGES, QUERIES, CLASSES, BOXES = 6, 16, 300, 91, 50
LIMIT = 0.15
PER_ROUND = 2.0  # seconds of both, at least


def _inputs(device: str) -> tuple[Tensor, Tensor, list[dict[str, Tensor]]]:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(LAYERS, IMAGES, QUERIES, CLASSES, generator=draw).to(device).requires_grad_()
    boxes = (0.1 + 0.8 * torch.rand(LAYERS, IMAGES, QUERIES, 4, generator=draw)).to(device).requires_grad_()
    targets = [
        {
            "class_labels": torch.randint(0, CLASSES, (BOXES,), generator=draw).to(device),
            "boxes": (0.1 + 0.5 * torch.rand(BOXES, 4, generator=draw)).to(device),
        }
        for _ in range(IMAGES)
    ]
    return logits, boxes, targets


def cases(device: str) -> dict[str, Work]:
    """Our way and theirs, on the same numbers; both return the gradients of logits and boxes."""
    logits, boxes, targets = _inputs(device)
    criterion = SetCriterion("focal")
    costs = {"class_cost": 2, "bbox_cost": 5, "giou_cost": 2, "bbox_loss_coefficient": 5, "giou_loss_coefficient": 2}
    rest = {"num_labels": CLASSES, "focal_alpha": 0.25, "auxiliary_loss": True, "decoder_layers": LAYERS}
    config = SimpleNamespace(**costs, **rest)

    def ours() -> object:
        return torch.autograd.grad(criterion(logits, boxes, targets)[0], (logits, boxes))

    def theirs() -> object:
        last = logits[-1], targets, torch.device(device), boxes[-1], config
        loss = cast(Tensor, DeformableDetrForObjectDetectionLoss(*last, logits, boxes)[0])
        return torch.autograd.grad(loss, (logits, boxes))

    return {"all layers at once": ours, "layer by layer": theirs}


def ratios(rounds: int, clock: Clock = wall_clock, device: str = "cpu") -> list[Ratio]:
    """Ours against theirs."""
    setting = f"batch {IMAGES}, {BOXES} boxes an image, {QUERIES} queries, {LAYERS} layers"
    seconds = in_turn(cases(device), rounds, clock, at_least=PER_ROUND * rounds)
    return [ratio_of(seconds, "all layers at once", "layer by layer", "matching and loss", setting, LIMIT)]
