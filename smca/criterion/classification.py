"""The class term of the criterion (paper E10): the cost of matching and the loss, focal or softmax.

Logits are [L, B, N, outputs]. Focal: one sigmoid a class, outputs = K. Softmax: outputs = K + 1, the last one
"no object", as in DETR. Both are used through the same three members, see `ClassTerm`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from smca.criterion.targets import BatchTargets


class ClassTerm(Protocol):
    """What matching and loss ask of a way to classify."""

    def classes(self, outputs: int) -> int:
        """The number of real classes K among the outputs."""
        ...

    def cost(self, logits: Tensor, targets: BatchTargets) -> Tensor:
        """[L, P, N]: how badly each query fits the label of each box."""
        ...

    def loss(self, logits: Tensor, targets: BatchTargets, query: Tensor, boxes: Tensor) -> Tensor:
        """[L]: the loss of each layer; query [L, P] is the match, boxes [] the boxes to normalise by."""
        ...


@dataclass(frozen=True)
class FocalTerm:
    """Sigmoid focal loss: -alpha_t (1 - p_t)^gamma log p_t, summed over queries and classes, per box."""

    alpha: float = 0.25
    gamma: float = 2.0

    def classes(self, outputs: int) -> int:
        """Every output is a class."""
        return outputs

    def cost(self, logits: Tensor, targets: BatchTargets) -> Tensor:
        """[L, P, N]: the focal loss of saying that class, minus the focal loss of denying it."""
        logit = _at_labels(logits, targets)
        return self._affirmed(logit) - self._denied(logit)

    def loss(self, logits: Tensor, targets: BatchTargets, query: Tensor, boxes: Tensor) -> Tensor:
        """[L]: matched queries should say their box's class, all else nothing.

        Everything is first denied, and what was matched then put right: fewer passes over all logits.
        """
        matched = logits[_layers(query), targets.image, query, targets.labels]
        right = self._affirmed(matched) - self._denied(matched)
        return (self._denied(logits).sum(dim=(1, 2, 3)) + right.sum(dim=1)) / boxes.where(boxes > 0, 1)

    def _affirmed(self, logit: Tensor) -> Tensor:
        return -self.alpha * (-logit).sigmoid().pow(self.gamma) * functional.logsigmoid(logit)

    def _denied(self, logit: Tensor) -> Tensor:
        return -(1 - self.alpha) * logit.sigmoid().pow(self.gamma) * functional.logsigmoid(-logit)


@dataclass(frozen=True)
class SoftmaxTerm:
    """Cross-entropy over K + 1 outputs, the weighted mean of all queries: "no object" weighs less than 1.

    The sum of weights is written through the number of boxes, (1 - w) boxes + w B N, which is DETR's weighted
    mean on one process and the mean over all of them on several.
    """

    no_object_weight: float = 0.1

    def classes(self, outputs: int) -> int:
        """The last output is "no object"."""
        return outputs - 1

    def cost(self, logits: Tensor, targets: BatchTargets) -> Tensor:
        """[L, P, N]: minus the probability of the label."""
        return -_at_labels(logits.softmax(dim=-1), targets)

    def loss(self, logits: Tensor, targets: BatchTargets, query: Tensor, boxes: Tensor) -> Tensor:
        """[L]: matched queries should say their box's class, the others "no object"."""
        layers, images, queries, outputs = logits.shape
        wanted = torch.full((layers, images, queries), outputs - 1, device=logits.device)
        wanted[_layers(query), targets.image, query] = targets.labels
        loss = functional.cross_entropy(logits.flatten(0, 2), wanted.flatten(), reduction="none").view_as(wanted)
        weighted = torch.where(wanted == outputs - 1, self.no_object_weight * loss, loss)
        total_weight = (1 - self.no_object_weight) * boxes + self.no_object_weight * images * queries
        return weighted.sum(dim=(1, 2)) / total_weight


def _at_labels(scores: Tensor, targets: BatchTargets) -> Tensor:
    """[L, B, N, outputs] -> [L, P, N]: for each box, the scores of its label in its own image."""
    return scores.transpose(2, 3)[:, targets.image, targets.labels]


def _layers(query: Tensor) -> Tensor:
    return torch.arange(len(query), device=query.device)[:, None]
