"""What a peer is: a network that looks at images of one size, without padding, and learns from their boxes.

`model.py` groups a batch by size, so that no peer ever reads padding. L decoder layers, B images, N queries, K classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import box_convert

from smca.comparison.peers.configuration import PeerConfig
from smca.criterion.losses import LossWeights, SetCriterion
from smca.criterion.matching import MatchingCosts
from smca.modeling.backbone import Backbone
from smca.sizes import ImageSize

Labels = Sequence[Mapping[str, Tensor]]
IMPOSSIBLE = -200.0  # a logit whose sigmoid is zero in float32


class Predictions(NamedTuple):
    """logits [L, B, N, K], boxes [L, B, N, 4] (cx, cy, w, h) in [0, 1] of the image."""

    logits: Tensor
    boxes: Tensor


class Share(NamedTuple):
    """What the losses of a batch are divided by: boxes [] per process and backward pass, and images."""

    boxes: Tensor
    images: int


class Peer(nn.Module, ABC):
    """A detector behind the common door."""

    @property
    def backbone(self) -> Backbone:
        """Ours, wherever the peer keeps it."""
        return next(part for part in self.modules() if isinstance(part, Backbone))

    @abstractmethod
    def look(self, pixels: Tensor) -> Predictions:
        """[B, 3, H, W] -> predictions of every supervised layer, the last one being the detections."""

    @abstractmethod
    def learn(self, pixels: Tensor, labels: Labels, share: Share) -> Tensor:
        """The part of the batch's loss [] that these images add."""


class SetPeer(Peer):
    """A peer that predicts a set, scored by the criterion that SMCA has."""

    def __init__(self, config: PeerConfig) -> None:
        super().__init__()
        weights = (config.class_weight, config.box_weight, config.giou_weight)
        self.criterion = SetCriterion(config.class_loss, LossWeights(*weights), MatchingCosts(*weights))

    def learn(self, pixels: Tensor, labels: Labels, share: Share) -> Tensor:
        return self.criterion(*self.look(pixels), labels, share.boxes)[0]


class Found(NamedTuple):
    """Detections in one image: boxes [n, 4] x1 y1 x2 y2 in pixels, scores [n] in [0, 1], labels [n] in 0..K-1."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def as_predictions(found: Sequence[Found], size: ImageSize, classes: int, most: int) -> Predictions:
    """Lists of detections as one layer of predictions: each of the `most` best has its class alone."""
    scale = torch.tensor([size.width, size.height, size.width, size.height], device=found[0].boxes.device)
    logits = torch.full((len(found), most, classes), IMPOSSIBLE, device=scale.device)
    boxes = torch.zeros(len(found), most, 4, device=scale.device)
    for image, one in enumerate(found):
        best = one.scores.argsort(descending=True, stable=True)[:most]
        rows = torch.arange(len(best), device=scale.device)
        logits[image, rows, one.labels[best]] = one.scores[best].float().logit(eps=1e-7)
        boxes[image, rows] = box_convert(one.boxes[best].float() / scale, "xyxy", "cxcywh")
    return Predictions(logits[None], boxes[None])


def in_pixels(labels: Labels, size: ImageSize, first_class: int) -> list[dict[str, Tensor]]:
    """Labels as torchvision's detectors want them: "boxes" x1 y1 x2 y2 in pixels, "labels" from `first_class` on."""
    targets = []
    for label in labels:
        boxes = label["boxes"].reshape(-1, 4)
        scale = boxes.new_tensor([size.width, size.height, size.width, size.height])
        targets.append(
            {"boxes": box_convert(boxes, "cxcywh", "xyxy") * scale, "labels": label["class_labels"] + first_class}
        )
    return targets
