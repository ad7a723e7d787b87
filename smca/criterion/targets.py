"""The boxes of a whole batch in one row, so that no step of the criterion loops over images.

Legend for the shapes of this package: L decoder layers, B images, N queries, K classes,
P boxes of all images of the batch together, in the images' order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from smca.errors import DataError


@dataclass(frozen=True)
class BatchTargets:
    """What the images of a batch show.

    labels [P] in 0..K-1, boxes [P, 4] (cx, cy, w, h) normalised to the unpadded image, image [P] in 0..B-1;
    counts: the boxes of each image, on the host (they add up to P).
    """

    labels: Tensor
    boxes: Tensor
    image: Tensor
    counts: tuple[int, ...]


def gather_targets(targets: Sequence[Mapping[str, Tensor]], like: Tensor) -> BatchTargets:
    """Join per-image `{"class_labels": [n], "boxes": [n, 4]}` on the device, and in the dtype, of `like`."""
    counts = tuple(len(target["class_labels"]) for target in targets)
    labels = torch.cat([target["class_labels"].reshape(-1) for target in targets]).to(like.device, torch.int64)
    boxes = torch.cat([target["boxes"].reshape(-1, 4) for target in targets]).to(like.device, like.dtype)
    if len(boxes) != len(labels):
        raise DataError(f"the labels name {len(labels)} classes for {len(boxes)} boxes; one each is allowed")
    image = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)).to(like.device)
    return BatchTargets(labels, boxes, image, counts)


def check_targets(targets: BatchTargets, images: int, queries: int, classes: int) -> None:
    """Raise DataError unless the targets fit an output of this many images, queries and classes."""
    if len(targets.counts) != images:
        raise DataError(f"the labels describe {len(targets.counts)} images, the batch has {images}")
    most = max(targets.counts, default=0)
    if most > queries:
        raise DataError(f"an image has {most} boxes, the model {queries} queries; set queries to {most} or more")
    if most == 0:
        return
    lowest, highest = targets.labels.aminmax()
    if lowest < 0 or highest >= classes:
        raise DataError(f"class labels {int(lowest)}..{int(highest)} found, 0..{classes - 1} are allowed")
