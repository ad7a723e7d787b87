"""TSP-RCNN (Sun et al., ICCV 2021): a transformer encoder over region proposals. Built here from the paper's text.

Tokens: LayerNorm(Linear(7x7 cells of the region) + Linear(sines of cx, cy, w, h, x1, y1, x2, y2)), 2C wide. Heads:
class (softmax, the last one background), box deltas for each class. An object's candidates are the proposals that
overlap it by .5; the cheapest of -p + 2 (1 - GIoU) learns its class. P3 to P7 (our backbones begin at C3; published P2
to P7).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import box_convert, box_iou, clip_boxes_to_image, generalized_box_iou_loss

from smca.comparison.peers.backbone import Pyramid
from smca.comparison.peers.configuration import PeerConfig
from smca.comparison.peers.faster_rcnn import CELLS, anchors_of, regions_of
from smca.comparison.peers.peer import Labels, Peer, Predictions, Share, as_predictions, in_pixels
from smca.comparison.peers.torchvision_peer import LOWEST_SCORE, MOST
from smca.comparison.peers.tsp import TokenEncoder, best_of, sine_of, some_of, winners
from smca.sizes import ImageSize

OCTAVES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
DELTA_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
OVERLAP = 0.7
POSITIVE = 0.5
BACKGROUND = 0.1


class Regions(NamedTuple):
    """One image's proposals [n, 4] in pixels, and what the heads say of them: logits [n, K + 1], deltas [n, K, 4]."""

    proposals: Tensor
    logits: Tensor
    deltas: Tensor


class TspRcnn(Peer):
    """`config.candidates` proposals; `len(config.encoder)` layers; tokens twice as wide as the pyramid."""

    def __init__(self, config: PeerConfig) -> None:
        super().__init__()
        self.classes = config.class_outputs
        self.pyramid = Pyramid(config)
        channels, width = config.pyramid_channels, 2 * config.pyramid_channels
        anchors = anchors_of(config, self.pyramid.strides, OCTAVES)
        head = RPNHead(channels, anchors.num_anchors_per_location()[0])
        before, after = (dict.fromkeys(("training", "testing"), n) for n in (2000, config.candidates))
        self.proposals = RegionProposalNetwork(anchors, head, 0.7, 0.3, 256, 0.5, before, after, 0.7)
        self.regions = regions_of(config)
        self.looks = nn.Linear(channels * CELLS**2, width)
        self.place = nn.Linear(8 * (width // 8), width)
        self.norm = nn.LayerNorm(width)
        self.encoder = TokenEncoder(width, len(config.encoder))
        self.class_head, self.box_head = nn.Linear(width, self.classes + 1), nn.Linear(width, 4 * self.classes)
        self.coder = BoxCoder(DELTA_WEIGHTS)
        nn.init.zeros_(self.box_head.weight)
        nn.init.zeros_(self.box_head.bias)

    def look(self, pixels: Tensor) -> Predictions:
        size = ImageSize(height=pixels.shape[2], width=pixels.shape[3])
        found = []
        for one in self._regions(pixels, size, None)[0]:
            boxes = clip_boxes_to_image(self._boxes(one), tuple(size))
            scores = one.logits.softmax(dim=-1)[:, :-1]
            found.append(best_of(boxes, scores, OVERLAP, MOST, LOWEST_SCORE))
        return as_predictions(found, size, self.classes, MOST)

    def learn(self, pixels: Tensor, labels: Labels, share: Share) -> Tensor:
        size = ImageSize(height=pixels.shape[2], width=pixels.shape[3])
        targets = in_pixels(labels, size, first_class=0)
        regions, proposing = self._regions(pixels, size, targets)
        losses = [self._loss(one, target) for one, target in zip(regions, targets, strict=True)]
        own = torch.stack(losses).sum() / share.boxes.clamp(min=1)
        return own + proposing * (len(pixels) / share.images)

    def _regions(
        self, pixels: Tensor, size: ImageSize, targets: list[dict[str, Tensor]] | None
    ) -> tuple[list[Regions], Tensor]:
        maps = self.pyramid(pixels)
        shapes = [(size.height, size.width)] * len(pixels)
        proposals, losses = self.proposals(ImageList(pixels, shapes), maps, targets)
        if targets is not None:
            proposals = [one[some_of(len(one), one.device)] for one in proposals]
        looks = self.looks(self.regions(maps, proposals, shapes).flatten(1)).split([len(one) for one in proposals])
        rows = [self.norm(a + self.place(self._place(b, size))) for a, b in zip(looks, proposals, strict=True)]
        padded = nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
        counts = torch.tensor([len(row) for row in rows], device=padded.device)
        padding = torch.arange(padded.shape[1], device=padded.device) >= counts[:, None]
        features = [one[: len(box)] for one, box in zip(self.encoder(padded, padding), proposals, strict=True)]
        proposing = torch.stack(list(losses.values())).sum() if losses else pixels.new_zeros(())
        return [
            Regions(box, self.class_head(one), self.box_head(one).view(-1, self.classes, 4))
            for one, box in zip(features, proposals, strict=True)
        ], proposing

    def _place(self, proposals: Tensor, size: ImageSize) -> Tensor:
        scale = proposals.new_tensor([size.width, size.height, size.width, size.height])
        corners = proposals / scale
        return sine_of(torch.cat([box_convert(corners, "xyxy", "cxcywh"), corners], dim=1), self.place.in_features // 8)

    def _boxes(self, one: Regions) -> Tensor:
        """[n, K, 4] in pixels."""
        return self.coder.decode_single(one.deltas.flatten(1), one.proposals).view_as(one.deltas)

    def _loss(self, one: Regions, target: dict[str, Tensor]) -> Tensor:
        """Sum over one image, so that a batch's is divided by its boxes."""
        labels, boxes = target["labels"], target["boxes"]
        given = torch.full((len(one.proposals),), -1, device=one.proposals.device)
        if len(boxes):
            overlap, nearest = box_iou(one.proposals, boxes).max(dim=1)
            given = nearest.masked_fill(overlap < POSITIVE, -1)
        wanted = torch.full_like(given, self.classes)
        loss = one.logits.sum() * 0
        positive = (given >= 0).nonzero().flatten()
        if len(positive):
            own, framed = labels[given[positive]], boxes[given[positive]]
            distance = generalized_box_iou_loss(self._boxes(one)[positive, own], framed)
            deltas = self.coder.encode_single(framed, one.proposals[positive])
            smooth = F.smooth_l1_loss(one.deltas[positive, own], deltas, reduction="none").sum(dim=1)
            loss = loss + (smooth + 2 * distance).mean() * len(labels)
            cost = torch.zeros_like(one.logits[:, 0])
            cost[positive] = 2 * distance.detach() - one.logits.detach().softmax(dim=-1)[positive, own]
            won = winners(cost, given, len(labels))
            wanted[won] = labels[given[won]]
        entropy = F.cross_entropy(one.logits, wanted, reduction="none")
        weight = (1 - (-entropy.detach()).exp()).square() * torch.where(wanted == self.classes, BACKGROUND, 1.0)
        return loss + (weight * entropy).sum()
