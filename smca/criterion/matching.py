"""Hungarian matching (paper E10): to each box of the batch its own query, in every decoder layer.

Cost of box p and query n: class_ * (class term's cost) + box * |difference|_1 + giou * (-GIoU), boxes
(cx, cy, w, h) normalised. One cost tensor [L, P, N] for the whole batch holds only pairs of the same image,
goes to the host in one copy, and is split into L * B assignments. L, B, N, P: see `targets`.
A pair whose cost is not finite costs `_REFUSED`: such a query is taken last, and nothing crashes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from smca.criterion.boxes import generalised_iou, to_corners
from smca.criterion.classification import ClassTerm
from smca.criterion.targets import BatchTargets

_REFUSED = 1e6


@dataclass(frozen=True)
class MatchingCosts:
    """Weights of the three terms of the matching cost."""

    class_: float = 2.0
    box: float = 5.0
    giou: float = 2.0


def matching_cost(
    logits: Tensor, boxes: Tensor, targets: BatchTargets, term: ClassTerm, costs: MatchingCosts
) -> Tensor:
    """[L, P, N] from logits [L, B, N, outputs] and boxes [L, B, N, 4]."""
    predicted = boxes[:, targets.image]
    wanted = targets.boxes[:, None]
    distance = (predicted - wanted).abs().sum(dim=-1)
    overlap = generalised_iou(to_corners(predicted), to_corners(wanted))
    cost = costs.class_ * term.cost(logits, targets) + costs.box * distance - costs.giou * overlap
    return cost.nan_to_num(nan=_REFUSED, posinf=_REFUSED, neginf=_REFUSED)


@torch.no_grad()
def match(logits: Tensor, boxes: Tensor, targets: BatchTargets, term: ClassTerm, costs: MatchingCosts) -> Tensor:
    """int64 [L, P]: the query that layer l gives to box p; within an image and layer no query comes twice.

    Every image must have at most N boxes (`targets.check_targets`).
    """
    cost = matching_cost(logits, boxes, targets, term, costs).cpu().numpy()
    query = np.empty(cost.shape[:2], dtype=np.int64)
    last = np.cumsum(targets.counts)
    for layer in range(len(cost)):
        for start, end in zip(last - targets.counts, last, strict=True):
            query[layer, start:end] = linear_sum_assignment(cost[layer, start:end])[1]
    return torch.from_numpy(query).to(logits.device)
