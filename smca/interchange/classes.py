"""Classes of public checkpoints: COCO's 80 in ascending raw id, whichever ids the outputs stand for.

91 or 92 outputs stand for raw ids 0 to 90 (and one that is never a target), 80 or 81 for the classes in order; any
other number keeps all outputs, for want of names called by their number. Under DETR's softmax the last output is "no
object".
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights


class Classes(NamedTuple):
    """Names, and the output of the checkpoint that scores each."""

    names: tuple[str, ...]
    rows: list[int]


def coco_ids() -> dict[int, str]:
    """COCO's 80 names by raw id, 1 to 90 with gaps."""
    categories: list[str] = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    return {number: name for number, name in enumerate(categories) if name not in ("__background__", "N/A")}


def classes_of(outputs: int, softmax: bool) -> Classes:
    """What the class outputs of a checkpoint stand for."""
    coco = coco_ids()
    if outputs in (91, 92):
        return Classes(tuple(coco.values()), list(coco))
    if outputs in (80, 81):
        return Classes(tuple(coco.values()), list(range(80)))
    count = outputs - softmax
    return Classes(tuple(f"class {row}" for row in range(count)), list(range(count)))


def class_rows(values: Tensor, classes: Classes, softmax: bool) -> Tensor:
    """Rows of a class head for the classes; of a softmax what each scores above "no object", as a sigmoid's logit."""
    return values[classes.rows] - values[-1] if softmax else values[classes.rows]
