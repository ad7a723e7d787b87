"""The loss of a detector that predicts a set (paper E10): every decoder layer is matched and supervised.

loss = sum over layers of class_ * class loss + box * L1 + giou * (1 - GIoU). L1 (over the four coordinates)
and GIoU are summed over the matched pairs and divided by the number of boxes, as the focal loss is. Boxes are
(cx, cy, w, h) normalised to the unpadded image. Computed in float32 (or better) also under autocast.
L, B, N, P: see `targets`. Raises DataError when the targets do not fit the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, distributed, nn

from smca.criterion.boxes import generalised_iou, to_corners
from smca.criterion.classification import ClassTerm, FocalTerm, SoftmaxTerm
from smca.criterion.matching import MatchingCosts, match
from smca.criterion.targets import BatchTargets, check_targets, gather_targets

LossKind = Literal["focal", "softmax"]


@dataclass(frozen=True)
class LossWeights:
    """Weights of the three terms of the loss."""

    class_: float = 2.0
    box: float = 5.0
    giou: float = 2.0


class SetCriterion(nn.Module):
    """Matches predictions to boxes and scores them; holds no parameters and no state."""

    def __init__(
        self,
        loss_kind: LossKind = "focal",
        weights: LossWeights | None = None,
        costs: MatchingCosts | None = None,
        no_object_weight: float = 0.1,
    ) -> None:
        """`no_object_weight` is the weight of queries without a box in the softmax loss."""
        super().__init__()
        self.term: ClassTerm = FocalTerm() if loss_kind == "focal" else SoftmaxTerm(no_object_weight)
        self.weights = weights or LossWeights()
        self.costs = costs or MatchingCosts()

    @torch.compiler.disable
    def forward(
        self,
        logits: Tensor,
        boxes: Tensor,
        targets: Sequence[Mapping[str, Tensor]],
        num_boxes: float | Tensor | None = None,
        groups: int = 1,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss [] and its parts, detached.

        logits [L, B, N, outputs], boxes [L, B, N, 4]; a target: "class_labels" [n], "boxes" [n, 4].
        num_boxes: what to divide by, that is boxes per backward pass and process; `mean_boxes` of this batch
        unless given. A trainer that adds up micro-batches gives their mean, which may be below 1, so that the sum of
        all is right. Zero counts as one.
        groups: of the N queries so many, one after the other, see the same image; the result is their mean.
        Parts, not weighted: "class", "box", "giou" of the last layer, and "class_total", ... over all layers.
        """
        with torch.autocast(logits.device.type, enabled=False):
            dtype = torch.promote_types(logits.dtype, torch.float32)
            logits, boxes = (apart(outputs.to(dtype), groups) for outputs in (logits, boxes))
            seen = [target for target in targets for _ in range(groups)]
            return self._score(logits, boxes, seen, None if num_boxes is None else groups * num_boxes)

    def _score(
        self,
        logits: Tensor,
        boxes: Tensor,
        per_image: Sequence[Mapping[str, Tensor]],
        num_boxes: float | Tensor | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        _, images, queries, outputs = logits.shape
        targets = gather_targets(per_image, like=boxes)
        check_targets(targets, images, queries, self.term.classes(outputs))
        count = mean_boxes(sum(targets.counts), logits.device) if num_boxes is None else num_boxes
        count = torch.as_tensor(count, dtype=logits.dtype, device=logits.device)
        query = match(logits.detach(), boxes.detach(), targets, self.term, self.costs)
        distance, overlap = _box_losses(boxes, targets, query)
        per_layer = {
            "class": self.term.loss(logits, targets, query, count),
            "box": distance / count.where(count > 0, 1),
            "giou": overlap / count.where(count > 0, 1),
        }
        weights = {"class": self.weights.class_, "box": self.weights.box, "giou": self.weights.giou}
        loss = torch.stack([weights[name] * value.sum() for name, value in per_layer.items()]).sum()
        return loss, _parts(per_layer)


def apart(values: Tensor, groups: int) -> Tensor:
    """Every group of queries as an image of its own: [L, B, G N, ...] -> [L, B G, N, ...]."""
    return values.unflatten(2, (groups, -1)).flatten(1, 2)


def mean_boxes(boxes: int, device: torch.device) -> Tensor:
    """float32 []: the mean over all processes of their number of boxes (collective)."""
    count = torch.tensor(float(boxes), device=device)
    if not (distributed.is_available() and distributed.is_initialized()):
        return count
    distributed.all_reduce(count)
    return count / distributed.get_world_size()


def _box_losses(boxes: Tensor, targets: BatchTargets, query: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over the matched pairs, each [L]: L1 distance and 1 - GIoU."""
    layer = torch.arange(len(boxes), device=boxes.device)[:, None]
    matched = boxes[layer, targets.image, query]
    distance = (matched - targets.boxes).abs().sum(dim=(1, 2))
    overlap = generalised_iou(to_corners(matched), to_corners(targets.boxes))
    return distance, (1 - overlap).sum(dim=1)


def _parts(per_layer: Mapping[str, Tensor]) -> dict[str, Tensor]:
    last = {name: value[-1].detach() for name, value in per_layer.items()}
    return last | {f"{name}_total": value.sum().detach() for name, value in per_layer.items()}
