"""Backbone warm-up: before detection starts, the backbone learns to name single objects cut from the training images.

From random weights the backbone, not the decoder, is what learns slowly, and a 64-pixel crop costs a twenty-fifth of a
320-pixel image. Each image gives `CROPS` squares: seven eighths around its boxes (1 to 1.8 times the longer side,
moved a little), the rest anywhere; a square that touches no box is background. Two linear heads, on the two coarsest
maps, are trained by cross-entropy and thrown away. Uses nothing but the training images and boxes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.ops import box_iou, roi_align

from smca.data.dataset import generator_for
from smca.data.images import load_image
from smca.data.records import Record
from smca.modeling.backbone import Backbone
from smca.modeling.image_processing import SmcaImageProcessor

CROPS = 8
AROUND = 7
TOUCHING = 0.05
IGNORED = -100
SIDE = 64
IMAGES = 16
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-2


class CropDataset(Dataset[tuple[Tensor, Tensor]]):
    """Item i: float crops [CROPS, 3, SIDE, SIDE] in 0..255 and labels [CROPS], `classes` standing for background and
    `IGNORED` for a background square that turned out to touch an object.
    """

    def __init__(self, records: Sequence[Record], classes: int, seed: int) -> None:
        self.records = records
        self.classes = classes
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        record = self.records[index]
        boxes, labels = map(torch.from_numpy, record.trainable)
        generator = generator_for(self.seed, self.epoch, index)
        squares, named = self._squares(boxes, labels, torch.tensor([record.size.width, record.size.height]), generator)
        image = load_image(record.path).float()[None]
        return roi_align(image, [squares], (SIDE, SIDE), sampling_ratio=2), named

    def _squares(
        self, boxes: Tensor, classes: Tensor, extent: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Corners [CROPS, 4] in pixels and labels [CROPS]; extent: width and height of the image."""
        draw = torch.rand(CROPS, 3, generator=generator)
        middle, side = draw[:, :2] * extent, (0.1 + 0.2 * draw[:, 2]) * extent.min()
        labels = torch.full((CROPS,), self.classes)
        if len(boxes):
            chosen = torch.randint(len(boxes), (AROUND,), generator=generator)
            centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).amax(dim=1)
            side[:AROUND] = (size[chosen] * (1 + 0.8 * draw[:AROUND, 2])).clamp(min=SIDE / 3)
            middle[:AROUND] = centre[chosen] + (draw[:AROUND, :2] - 0.5) * 0.2 * side[:AROUND, None]
            labels[:AROUND] = classes[chosen]
        squares = torch.cat([middle - side[:, None] / 2, middle + side[:, None] / 2], dim=1)
        touching = (box_iou(squares, boxes) > TOUCHING).any(dim=1) & (labels == self.classes)
        return squares, labels.masked_fill(touching, IGNORED)


def warm_up(
    backbone: Backbone,
    dataset: CropDataset,
    epochs: float,
    processor: SmcaImageProcessor,
    workers: int,
    device: torch.device,
    progress: Callable[[int, int, str], None],
) -> float:
    """Train `backbone` for `epochs` passes over the images; returns the last share of crops named right (smoothed)."""
    steps = max(1, round(epochs * len(dataset) / IMAGES))
    heads = _heads(backbone, dataset.classes).to(device)
    parameters = [p for p in [*backbone.parameters(), *heads.parameters()] if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: min(1, (s + 1) / 30) * 0.5 * (1 + math.cos(math.pi * s / steps))
    )
    right = 0.0
    for step, (crops, labels) in enumerate(_batches(dataset, steps, workers), 1):
        inputs = _normalised(crops.to(device), processor)
        loss, share = _loss(backbone, heads, inputs, labels.to(device))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        right = share if step == 1 else 0.95 * right + 0.05 * share
        progress(step, steps, f"{100 * right:.0f} % of single objects named right")
    return right


def _batches(dataset: CropDataset, steps: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    done = 0
    while done < steps:
        generator = torch.Generator().manual_seed(dataset.seed + dataset.epoch)
        loader = DataLoader(dataset, IMAGES, shuffle=True, generator=generator, num_workers=workers)
        for crops, labels in loader:
            if done < steps:
                done += 1
                yield crops.flatten(0, 1), labels.flatten()
        dataset.epoch += 1


def _heads(backbone: Backbone, classes: int) -> nn.ModuleList:
    coarsest = sorted(backbone.levels.values(), key=lambda level: level.stride)[-2:]
    return nn.ModuleList(nn.Linear(level.channels, classes + 1) for level in coarsest)


def _normalised(crops: Tensor, processor: SmcaImageProcessor) -> Tensor:
    mean, std = (
        torch.tensor(v, device=crops.device)[:, None, None] for v in (processor.image_mean, processor.image_std)
    )
    return (crops / 255 - mean) / std


def _loss(backbone: Backbone, heads: nn.ModuleList, inputs: Tensor, labels: Tensor) -> tuple[Tensor, float]:
    maps = backbone(inputs, None)
    coarsest = sorted(backbone.levels.values(), key=lambda level: level.stride)[-2:]
    logits = [head(maps[level.name].float().amax((2, 3))) for head, level in zip(heads, coarsest, strict=True)]
    loss = torch.stack([F.cross_entropy(x, labels, ignore_index=IGNORED) for x in logits]).sum()
    counted = labels >= 0
    return loss, (logits[-1].argmax(1) == labels)[counted].float().mean().item()
