"""Backbone warm-up: before detection starts, the backbone learns to name and frame objects in crops of the images.

From random weights the backbone, not the decoder, is what learns slowly, and a 64-pixel crop costs a twenty-fifth of a
320-pixel image. Each image gives `CROPS` squares: all but one around its boxes (1 to 1.8 times the longer side, moved a
little), one anywhere. Two linear heads, on the two coarsest maps, say for each cell which class's box it lies in (the
smallest, if several; none: background) and how far that box's four sides are; they are thrown away afterwards. Loss:
cross-entropy, and 1 - IoU inside boxes. Uses nothing but the training images and boxes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.ops import roi_align

from smca.data.dataset import generator_for
from smca.data.images import load_image
from smca.data.records import Record
from smca.modeling.backbone import Backbone
from smca.modeling.geometry import Grid, LevelGeometry
from smca.modeling.image_processing import SmcaImageProcessor

CROPS = 8
SIDE = 64
IMAGES = 16
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-2
UNIT = SIDE / 4


class CellTargets(NamedTuple):
    """What the cells of one level should say: labels [..., S] (classes = background), sides [..., S, 4] in pixels."""

    labels: Tensor
    sides: Tensor


class CropDataset(Dataset[tuple[Tensor, list[CellTargets]]]):
    """Item i: float crops [CROPS, 3, SIDE, SIDE] in 0..255, and the targets of each level's cells in them."""

    def __init__(self, records: Sequence[Record], classes: int, levels: Sequence[LevelGeometry], seed: int) -> None:
        self.records = records
        self.classes = classes
        self.levels = levels
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[Tensor, list[CellTargets]]:
        record = self.records[index]
        boxes, labels = map(torch.from_numpy, record.trainable)
        extent = torch.tensor([record.size.width, record.size.height])
        squares = crop_squares(boxes, extent, generator_for(self.seed, self.epoch, index))
        crops = roi_align(load_image(record.path).float()[None], [squares], (SIDE, SIDE), sampling_ratio=2)
        scale = SIDE / (squares[:, 2] - squares[:, 0])
        moved = (boxes - squares[:, None, :2].repeat(1, 1, 2)) * scale[:, None, None]
        return crops, [cell_targets(moved, labels, cell_centres(level), self.classes) for level in self.levels]


def crop_squares(boxes: Tensor, extent: Tensor, generator: torch.Generator) -> Tensor:
    """Corners [CROPS, 4] in pixels of squares in an image of `extent` (width, height) with `boxes` [n, 4]."""
    draw = torch.rand(CROPS, 3, generator=generator)
    middle, side = draw[:, :2] * extent, (0.1 + 0.2 * draw[:, 2]) * extent.min()
    if len(boxes):
        around = CROPS - 1
        chosen = boxes[torch.randint(len(boxes), (around,), generator=generator)]
        side[:around] = (chosen[:, 2:] - chosen[:, :2]).amax(dim=1) * (1 + 0.8 * draw[:around, 2])
        side = side.clamp(min=SIDE / 3)
        middle[:around] = (chosen[:, :2] + chosen[:, 2:]) / 2 + (draw[:around, :2] - 0.5) * 0.2 * side[:around, None]
    return torch.cat([middle - side[:, None] / 2, middle + side[:, None] / 2], dim=1)


def cell_centres(level: LevelGeometry) -> Tensor:
    """Pixels [S, 2] (x, y) of a crop where the level's cells are centred."""
    cells = SIDE // level.stride
    grid = Grid.of_map(cells, cells, level.offset, like=torch.empty(0))
    return torch.cartesian_prod(grid.y, grid.x).flip(-1) * level.stride


def cell_targets(boxes: Tensor, labels: Tensor, centres: Tensor, background: int) -> CellTargets:
    """Targets of cells at `centres` [S, 2] for the boxes [CROPS, n, 4] of classes `labels` [n], in crop pixels."""
    count = (len(boxes), len(centres))
    if not len(labels):
        return CellTargets(torch.full(count, background), torch.zeros(*count, 4))
    cells = centres[:, None]
    sides = torch.cat([cells - boxes[:, None, :, :2], boxes[:, None, :, 2:] - cells], dim=-1)
    inside = sides.amin(dim=-1) > 0
    area = (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)[:, None]
    smallest = area.expand(inside.shape).masked_fill(~inside, math.inf).argmin(dim=-1)
    named = labels[smallest].masked_fill(~inside.any(dim=-1), background)
    return CellTargets(named, sides.gather(2, smallest[..., None, None].expand(-1, -1, 1, 4))[:, :, 0])


def coarsest_levels(backbone: Backbone) -> list[LevelGeometry]:
    """The one or two coarsest maps that still have a cell in a crop."""
    fitting = [level for level in backbone.levels.values() if level.stride <= SIDE]
    return sorted(fitting, key=lambda level: level.stride)[-2:]


def warm_up(
    backbone: Backbone,
    dataset: CropDataset,
    epochs: float,
    processor: SmcaImageProcessor,
    workers: int,
    device: torch.device,
    progress: Callable[[int, int, str], None],
) -> float:
    """Train `backbone` for `epochs` passes over the images; returns the share of cells named right (smoothed)."""
    steps = max(1, round(epochs * len(dataset) / IMAGES))
    heads = nn.ModuleList(nn.Linear(level.channels, dataset.classes + 5) for level in dataset.levels).to(device)
    parameters = [p for p in [*backbone.parameters(), *heads.parameters()] if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: min(1, (s + 1) / 30) * 0.5 * (1 + math.cos(math.pi * s / steps))
    )
    right = 0.0
    for step, (crops, targets) in enumerate(_batches(dataset, steps, workers), 1):
        maps = backbone(_normalised(crops.to(device), processor), None)
        losses = []
        for head, level, target in zip(heads, dataset.levels, targets, strict=True):
            output = head(maps[level.name].flatten(2).transpose(1, 2))
            loss, share = cell_loss(output, CellTargets(*(part.flatten(0, 1).to(device) for part in target)))
            losses.append(loss)
        optimiser.zero_grad()
        torch.stack(losses).sum().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        right = share if step == 1 else 0.95 * right + 0.05 * share
        progress(step, steps, f"{100 * right:.0f} % named right")
    return right


def cell_loss(output: Tensor, target: CellTargets) -> tuple[Tensor, float]:
    """Loss [] and the share of objects' cells named right; output [B, S, classes + 1 + 4], sides as logs of UNIT."""
    logits, logs = output[..., :-4], output[..., -4:]
    inside = target.labels < logits.shape[-1] - 1
    loss = F.cross_entropy(logits.flatten(0, 1), target.labels.flatten())
    if not bool(inside.any()):
        return loss, 0.0
    sides, wanted = logs[inside].exp() * UNIT, target.sides[inside]
    overlap = _area(torch.minimum(sides, wanted))
    iou = overlap / (_area(sides) + _area(wanted) - overlap).clamp(min=1e-6)
    share = (logits.argmax(dim=-1) == target.labels)[inside].float().mean().item()
    return loss + (1 - iou).mean(), share


def _area(sides: Tensor) -> Tensor:
    return (sides[:, 0] + sides[:, 2]) * (sides[:, 1] + sides[:, 3])


def _batches(dataset: CropDataset, steps: int, workers: int) -> Iterator[tuple[Tensor, list[CellTargets]]]:
    done = 0
    while done < steps:
        generator = torch.Generator().manual_seed(dataset.seed + dataset.epoch)
        loader = DataLoader(dataset, IMAGES, shuffle=True, generator=generator, num_workers=workers)
        for crops, targets in loader:
            if done < steps:
                done += 1
                yield crops.flatten(0, 1), targets
        dataset.epoch += 1


def _normalised(crops: Tensor, processor: SmcaImageProcessor) -> Tensor:
    mean, std = (
        torch.tensor(v, device=crops.device)[:, None, None] for v in (processor.image_mean, processor.image_std)
    )
    return (crops / 255 - mean) / std
