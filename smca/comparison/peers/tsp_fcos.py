"""TSP-FCOS (Sun et al., ICCV 2021): a transformer encoder over the cells of a pyramid that an auxiliary classifier
finds interesting. Built here from the paper's text.

Tokens: LayerNorm(Linear(both towers' features)), 2C wide; position: sines of the cell's centre and a vector per level.
Heads: class (sigmoid), distances (l, t, r, b) in strides, centerness (trained, not used at test). An object's
candidates are the cells that FCOS assigns to it; the cheapest of -p ctr + 2 (1 - GIoU) learns its class.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.fcos import FCOSClassificationHead, FCOSRegressionHead
from torchvision.ops import clip_boxes_to_image, generalized_box_iou_loss, sigmoid_focal_loss

from smca.comparison.peers.backbone import Pyramid
from smca.comparison.peers.configuration import PeerConfig
from smca.comparison.peers.peer import Labels, Peer, Predictions, Share, as_predictions, in_pixels
from smca.comparison.peers.torchvision_peer import LOWEST_SCORE, MOST
from smca.comparison.peers.tsp import TokenEncoder, best_of, sine_of, some_of, winners
from smca.modeling.initialization import CLASS_PRIOR
from smca.sizes import ImageSize

RADIUS = 1.5
RANGE = 8.0  # strides: the farthest side a level is for; half of it, the farthest of the level before
OVERLAP = 0.6
UNMATCHED = 0.1


class Cells(NamedTuple):
    """All cells of a pyramid: centres [P, 2] in pixels, stride [P], level [P]."""

    centres: Tensor
    stride: Tensor
    level: Tensor


class Tokens(NamedTuple):
    """One image's cells of interest: their index [n] among all, and what the heads say of them."""

    cell: Tensor
    logits: Tensor
    boxes: Tensor
    centerness: Tensor


def cells_of(maps: list[Tensor], strides: tuple[int, ...]) -> Cells:
    """The cells of all maps, in a row."""
    centres, stride, level = [], [], []
    for number, (one, step) in enumerate(zip(maps, strides, strict=True)):
        rows, columns = (torch.arange(n, device=one.device, dtype=one.dtype) + 0.5 for n in one.shape[-2:])
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        centres.append(torch.stack([x, y], dim=-1).flatten(0, 1) * step)
        stride.append(torch.full((x.numel(),), float(step), device=one.device))
        level.append(torch.full((x.numel(),), number, device=one.device))
    return Cells(torch.cat(centres), torch.cat(stride), torch.cat(level))


def assign(cells: Cells, boxes: Tensor) -> Tensor:
    """int64 [P]: the smallest box [n, 4] (pixels) that FCOS gives a cell, or -1: its centre lies near the box's, inside
    the box, and the farthest side suits its level.
    """
    if not len(boxes):
        return torch.full((len(cells.centres),), -1, device=boxes.device)
    x, y = cells.centres.T[:, :, None]
    sides = torch.stack([x - boxes[:, 0], y - boxes[:, 1], boxes[:, 2] - x, boxes[:, 3] - y], dim=-1)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    stride = cells.stride[:, None]
    near = ((cells.centres[:, None] - middle).abs() < RADIUS * stride[..., None]).all(dim=-1)
    farthest = sides.amax(dim=-1)
    lower = torch.where(cells.level == 0, 0.0, cells.stride * RANGE / 2)[:, None]
    upper = torch.where(cells.level == cells.level.max(), torch.inf, cells.stride * RANGE)[:, None]
    fits = near & (sides.amin(dim=-1) > 0) & (farthest > lower) & (farthest <= upper)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=-1).expand(fits.shape).masked_fill(~fits, torch.inf)
    smallest, index = area.min(dim=1)
    return index.masked_fill(smallest.isinf(), -1)


def centerness_of(cells: Tensor, boxes: Tensor) -> Tensor:
    """sqrt(min/max of left and right, times that of top and bottom) of cells [n, 2] inside boxes [n, 4]."""
    before, after = cells - boxes[:, :2], boxes[:, 2:] - cells
    return (torch.minimum(before, after) / torch.maximum(before, after)).clamp(min=0).prod(dim=-1).sqrt()


class TspFcos(Peer):
    """`config.candidates` cells of interest; `len(config.encoder)` layers; tokens twice as wide as the pyramid."""

    def __init__(self, config: PeerConfig) -> None:
        super().__init__()
        self.classes, self.candidates = config.class_outputs, config.candidates
        self.pyramid = Pyramid(config)
        channels, width = config.pyramid_channels, 2 * config.pyramid_channels
        self.interest = FCOSClassificationHead(channels, 1, self.classes, prior_probability=CLASS_PRIOR)
        self.box_tower = FCOSRegressionHead(channels, 1).conv
        self.token = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width))
        self.level = nn.Embedding(len(self.pyramid.strides), width)
        self.encoder = TokenEncoder(width, len(config.encoder))
        self.class_head = nn.Linear(width, self.classes)
        self.box_head, self.centerness_head = nn.Linear(width, 4), nn.Linear(width, 1)
        self.scale = nn.Parameter(torch.ones(len(self.pyramid.strides)))
        nn.init.constant_(self.class_head.bias, math.log(CLASS_PRIOR / (1 - CLASS_PRIOR)))
        nn.init.constant_(self.box_head.bias, 1.0)

    def look(self, pixels: Tensor) -> Predictions:
        size = ImageSize(height=pixels.shape[2], width=pixels.shape[3])
        cells, interest, towers = self._dense(pixels)
        chosen = [self._chosen(one) for one in interest]
        tokens = self._tokens(cells, towers, chosen, size)
        found = [
            best_of(
                clip_boxes_to_image(one.boxes, tuple(size))[:, None], one.logits.sigmoid(), OVERLAP, MOST, LOWEST_SCORE
            )
            for one in tokens
        ]
        return as_predictions(found, size, self.classes, MOST)

    def learn(self, pixels: Tensor, labels: Labels, share: Share) -> Tensor:
        size = ImageSize(height=pixels.shape[2], width=pixels.shape[3])
        targets = in_pixels(labels, size, first_class=0)
        cells, interest, towers = self._dense(pixels)
        assigned = [assign(cells, target["boxes"]) for target in targets]
        chosen = [self._chosen(one, given) for one, given in zip(interest, assigned, strict=True)]
        chosen = [one[some_of(len(one), one.device)] for one in chosen]
        losses = [
            self._loss(cells, one, given, target, dense)
            for one, given, target, dense in zip(
                self._tokens(cells, towers, chosen, size), assigned, targets, interest, strict=True
            )
        ]
        return torch.stack(losses).sum() / share.boxes.clamp(min=1)

    def _dense(self, pixels: Tensor) -> tuple[Cells, Tensor, Tensor]:
        """Cells, the interest in each [B, P, K] (logits), and both towers' features [B, P, 2C]."""
        maps = list(self.pyramid(pixels).values())
        named = [self.interest.conv(one) for one in maps]
        towers = [torch.cat([a, self.box_tower(b)], dim=1) for a, b in zip(named, maps, strict=True)]
        interest = [self.interest.cls_logits(one) for one in named]
        rows = [torch.cat([one.flatten(2).transpose(1, 2) for one in part], dim=1) for part in (interest, towers)]
        return cells_of(maps, self.pyramid.strides), rows[0], rows[1]

    def _chosen(self, interest: Tensor, assigned: Tensor | None = None) -> Tensor:
        """The cells that look most like something; in training those on an object come before the rest."""
        score = interest.detach().sigmoid().amax(dim=-1)
        if assigned is not None:
            score = torch.where(assigned >= 0, (score + 1) / 2, score)
        return score.topk(min(self.candidates, len(score))).indices

    def _tokens(self, cells: Cells, towers: Tensor, chosen: list[Tensor], size: ImageSize) -> list[Tokens]:
        scale = cells.centres.new_tensor([size.width, size.height])
        position = sine_of(cells.centres / scale, towers.shape[-1] // 2) + self.level(cells.level)
        rows = [self.token(tower[index]) + position[index] for tower, index in zip(towers, chosen, strict=True)]
        padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        counts = torch.tensor([len(row) for row in rows], device=padded.device)
        padding = torch.arange(padded.shape[1], device=padded.device) >= counts[:, None]
        return [
            self._heads(features[: len(index)], cells, index)
            for features, index in zip(self.encoder(padded, padding), chosen, strict=True)
        ]

    def _heads(self, features: Tensor, cells: Cells, index: Tensor) -> Tokens:
        stride = cells.stride[index][:, None]
        sides = F.relu(self.box_head(features) * self.scale[cells.level[index]][:, None]) * stride
        centres = cells.centres[index]
        boxes = torch.cat([centres - sides[:, :2], centres + sides[:, 2:]], dim=1)
        return Tokens(index, self.class_head(features), boxes, self.centerness_head(features)[:, 0])

    def _loss(self, cells: Cells, tokens: Tokens, assigned: Tensor, target: dict[str, Tensor], dense: Tensor) -> Tensor:
        """Sum over one image, so that a batch's is divided by its boxes."""
        labels, boxes = target["labels"], target["boxes"]
        everywhere = _one_hot(assigned, labels, dense)
        positives = max(1, int((assigned >= 0).sum())) / max(1, len(labels))
        loss = sigmoid_focal_loss(dense, everywhere, reduction="sum") / positives
        given = assigned[tokens.cell]
        on_object = given >= 0
        own = labels[given.clamp(min=0)] if len(labels) else given
        overlap = tokens.logits.new_zeros(len(given))
        if bool(on_object.any()):
            wanted = boxes[given[on_object]]
            centred = centerness_of(cells.centres[tokens.cell[on_object]], wanted)
            distance = generalized_box_iou_loss(tokens.boxes[on_object], wanted)
            overlap[on_object] = distance.detach()
            share = len(labels) / len(wanted)
            loss = loss + 2 * len(labels) * (distance * centred).sum() / centred.sum().clamp(min=1e-6)
            entropy = F.binary_cross_entropy_with_logits(tokens.centerness[on_object], centred, reduction="sum")
            loss = loss + share * entropy
        rows = torch.arange(len(given), device=given.device)
        chance = tokens.logits.detach().sigmoid()[rows, own.clamp(min=0)] * tokens.centerness.detach().sigmoid()
        won = winners(2 * overlap - chance, given, len(labels))
        wanted = _one_hot(given.masked_fill(~won, -1), labels, tokens.logits)
        weight = torch.ones_like(wanted)
        lost = on_object & ~won
        weight[rows[lost], own[lost]] = UNMATCHED
        return loss + (weight * sigmoid_focal_loss(tokens.logits, wanted, reduction="none")).sum()


def _one_hot(assigned: Tensor, labels: Tensor, like: Tensor) -> Tensor:
    """[n, K]: 1 at the class of the object [n] that a row is assigned to, nothing at -1."""
    wanted = torch.zeros_like(like)
    rows = (assigned >= 0).nonzero().flatten()
    wanted[rows, labels[assigned[rows]]] = 1
    return wanted
