"""Boxes: the two coordinate forms, and the generalised IoU of the cost and the loss (paper E10).

Conventions: a box is the last axis of a tensor, either (centre x, centre y, width, height), normalised to the
unpadded image, or its corners (x1, y1, x2, y2). All functions take any leading axes and keep the dtype.
Nothing here raises or gives NaN on finite boxes, whatever their size: a point's IoU with itself is 0.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_convert

_SMALLEST_AREA = 1e-9


def to_corners(boxes: Tensor) -> Tensor:
    """(cx, cy, w, h) -> (x1, y1, x2, y2)."""
    return box_convert(boxes, "cxcywh", "xyxy")


def to_centres(boxes: Tensor) -> Tensor:
    """(x1, y1, x2, y2) -> (cx, cy, w, h)."""
    return box_convert(boxes, "xyxy", "cxcywh")


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """GIoU in [-1, 1] of corner boxes a [..., 4] and b [..., 4], broadcast against each other.

    Pairwise is `generalised_iou(a[:, None], b[None])`. GIoU = intersection / union - (hull - union) / hull,
    where the hull is the smallest box around both.
    """
    intersection = _area(torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:]))
    hull = _area(torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:]))
    union = _area(a[..., :2], a[..., 2:]) + _area(b[..., :2], b[..., 2:]) - intersection
    return intersection / union.clamp(min=_SMALLEST_AREA) - (hull - union) / hull.clamp(min=_SMALLEST_AREA)


def _area(top_left: Tensor, bottom_right: Tensor) -> Tensor:
    return (bottom_right - top_left).clamp(min=0).prod(dim=-1)
