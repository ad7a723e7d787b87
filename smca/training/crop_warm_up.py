"""Backbone warm-up: before detection starts, the backbone learns to name and frame objects in crops of the images.

From random weights the backbone, not the decoder, is what learns slowly, and a 64-pixel crop costs a twenty-fifth of a
320-pixel image; a backbone with weights of its own learns what its new data look like. Each image gives `CROPS`
squares: one anywhere, all others around its boxes (1 to 1.8 times the longer side or more, the box anywhere inside;
rare classes as often as common ones, where an image has both). Many short steps of few crops, each of another object,
teach more in the same time than few long ones. At first small objects are shown up to `ZOOM` times as large as training
will show them; a share of the crops that grows to `NATURAL` by half time shows them no larger, for a network that has
only seen large digits does not read small ones, and one that starts with small ones learns to read neither. Two linear
heads, on the two coarsest maps, say for each cell which class's box it lies in (the smallest, if several; a box counts
as at least one cell large; none: background) and where that box is; they are thrown away afterwards. Loss:
cross-entropy, and 1 - GIoU inside boxes. Uses nothing but the training images and boxes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.ops import roi_align

from smca.criterion.boxes import generalised_iou, to_centres, to_corners
from smca.data.dataset import generator_for
from smca.data.images import load_image
from smca.data.records import Record
from smca.data.transforms import TrainTransform
from smca.modeling.backbone import Backbone
from smca.modeling.geometry import Grid, LevelGeometry
from smca.modeling.image_processing import SmcaImageProcessor
from smca.training.finite import require_finite

CROPS = 8
SIDE = 64
IMAGES = 8
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-2
UNIT = SIDE / 4
ZOOM = 3
NATURAL = 0.7


class CellTargets(NamedTuple):
    """What cells should say: labels [..., S] (classes = background), boxes [..., S, 4] as corners about the cell."""

    labels: Tensor
    boxes: Tensor


class CropDataset(Dataset[tuple[Tensor, list[CellTargets]]]):
    """Item i: float crops [CROPS, 3, SIDE, SIDE] in 0..255, and the targets of each level's cells in them.

    `transform` brings an image to the size that training shows; `natural`: the share of crops that do not enlarge.
    """

    def __init__(
        self,
        records: Sequence[Record],
        transform: TrainTransform,
        classes: int,
        levels: Sequence[LevelGeometry],
        seed: int,
    ) -> None:
        self.records = records
        self.transform = transform
        self.classes = classes
        self.levels = levels
        self.seed = seed
        self.epoch = 0
        self.natural = 0.0
        found = np.concatenate([record.trainable[1] for record in records])
        self.rarity = 1 / torch.bincount(torch.from_numpy(found), minlength=classes).clamp(min=1).double()

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[Tensor, list[CellTargets]]:
        record = self.records[index]
        generator = generator_for(self.seed, self.epoch, index)
        boxes, labels = map(torch.from_numpy, record.trainable)
        image, boxes, labels = self.transform(load_image(record.path), boxes, labels, generator)
        zoomed = torch.rand(CROPS, generator=generator) >= self.natural
        least = torch.where(zoomed, SIDE / ZOOM, SIDE)
        squares = crop_squares(boxes, self.rarity[labels], torch.tensor(image.shape[:0:-1]), least, generator)
        crops = roi_align(image.float()[None], [squares], (SIDE, SIDE), sampling_ratio=1)
        scale = SIDE / (squares[:, 2] - squares[:, 0])
        moved = (boxes - squares[:, None, :2].repeat(1, 1, 2)) * scale[:, None, None]
        return crops, [self._targets(moved, labels, level) for level in self.levels]

    def _targets(self, boxes: Tensor, labels: Tensor, level: LevelGeometry) -> CellTargets:
        return cell_targets(boxes, labels, cell_centres(level), level.stride, self.classes)


def crop_squares(boxes: Tensor, chances: Tensor, extent: Tensor, least: Tensor, generator: torch.Generator) -> Tensor:
    """Corners [CROPS, 4] of squares with sides of `least` [CROPS] or more in an image of `extent` (width, height).

    All in pixels of the image. Boxes [n, 4] are chosen in proportion to `chances` [n].
    """
    draw = torch.rand(CROPS, 3, generator=generator)
    middle, side = draw[:, :2] * extent, (0.1 + 0.2 * draw[:, 2]) * extent.min()
    if len(boxes):
        around = CROPS - 1
        chosen = boxes[torch.multinomial(chances, around, replacement=True, generator=generator)]
        longest = (chosen[:, 2:] - chosen[:, :2]).amax(dim=1)
        side[:around] = longest * (1 + 0.8 * draw[:around, 2])
        side = side.maximum(least)
        room = (side[:around] - longest).maximum(0.2 * side[:around])
        middle[:around] = (chosen[:, :2] + chosen[:, 2:]) / 2 + (draw[:around, :2] - 0.5) * room[:, None]
    return torch.cat([middle - side[:, None] / 2, middle + side[:, None] / 2], dim=1)


def cell_centres(level: LevelGeometry) -> Tensor:
    """Pixels [S, 2] (x, y) of a crop where the level's cells are centred."""
    cells = SIDE // level.stride
    grid = Grid.of_map(cells, cells, level.offset, like=torch.empty(0))
    return torch.cartesian_prod(grid.y, grid.x).flip(-1) * level.stride


def cell_targets(boxes: Tensor, labels: Tensor, centres: Tensor, stride: int, background: int) -> CellTargets:
    """Targets of cells at `centres` [S, 2] for the boxes [CROPS, n, 4] of classes `labels` [n], in crop pixels."""
    count = (len(boxes), len(centres))
    if not len(labels):
        return CellTargets(torch.full(count, background), torch.zeros(*count, 4))
    middle, size = to_centres(boxes).split(2, dim=-1)
    reach = size.clamp(min=stride)[:, None] / 2
    inside = ((centres[:, None] - middle[:, None]).abs() <= reach).all(dim=-1)
    area = size.prod(dim=-1)[:, None].expand(inside.shape)
    smallest = area.masked_fill(~inside, math.inf).argmin(dim=-1)
    named = labels[smallest].masked_fill(~inside.any(dim=-1), background)
    chosen = boxes.gather(1, smallest[..., None].expand(-1, -1, 4))
    return CellTargets(named, chosen - centres.repeat(1, 2))


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
    rate: float | None = None,
) -> float:
    """Train `backbone` for `epochs` passes over the images; returns the share of cells named right (smoothed).

    rate: the backbone's learning rate, where it has learned before. None: as fast as the heads, from random weights.
    """
    steps = max(1, round(epochs * len(dataset) / IMAGES))
    heads = nn.ModuleList(nn.Linear(level.channels, dataset.classes + 5) for level in dataset.levels).to(device)
    trained = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    groups = [{"params": heads.parameters()}, {"params": trained, "lr": LEARNING_RATE if rate is None else rate}]
    optimiser = torch.optim.AdamW(groups, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: min(1, (s + 1) / 30) * 0.5 * (1 + math.cos(math.pi * s / steps))
    )
    right = 0.0
    for step, (crops, targets) in enumerate(_batches(dataset, steps, epochs, workers), 1):
        maps = backbone(_normalised(crops.to(device), processor), None)
        loss, share = _loss_of([maps[level.name] for level in dataset.levels], heads, targets)
        optimiser.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_([*heads.parameters(), *trained], 1.0)
        require_finite(norm, f"backbone warm-up, step {step}")
        optimiser.step()
        schedule.step()
        right = share if step == 1 else 0.95 * right + 0.05 * share
        progress(step, steps, f"{100 * right:.0f} % named right")
    return right


def _loss_of(maps: list[Tensor], heads: nn.ModuleList, targets: list[CellTargets]) -> tuple[Tensor, float]:
    """Loss summed over the levels' maps [B, C, h, w], and the share named right on the coarsest."""
    losses, share = [], 0.0
    for head, features, target in zip(heads, maps, targets, strict=True):
        output = head(features.flatten(2).transpose(1, 2))
        loss, share = cell_loss(output, CellTargets(*(part.flatten(0, 1).to(output.device) for part in target)))
        losses.append(loss)
    return torch.stack(losses).sum(), share


def cell_loss(output: Tensor, target: CellTargets) -> tuple[Tensor, float]:
    """Loss [] and the share of objects' cells named right.

    Output [B, S, classes + 1 + 4]: logits; in UNITs the box's centre from the cell's, and the logs of its sides.
    """
    logits, box = output[..., :-4], output[..., -4:]
    inside = target.labels < logits.shape[-1] - 1
    loss = F.cross_entropy(logits.flatten(0, 1), target.labels.flatten())
    if not bool(inside.any()):
        return loss, 0.0
    centre, sides = box[inside].split(2, dim=-1)
    framed = UNIT * torch.cat([centre, sides.clamp(max=4).exp()], dim=-1)
    giou = generalised_iou(to_corners(framed), target.boxes[inside])
    share = (logits.argmax(dim=-1) == target.labels)[inside].float().mean().item()
    return loss + (1 - giou).mean(), share


def _batches(
    dataset: CropDataset, steps: int, epochs: float, workers: int
) -> Iterator[tuple[Tensor, list[CellTargets]]]:
    done = 0
    while done < steps:
        dataset.natural = NATURAL * min(1.0, 2 * dataset.epoch / epochs)
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
