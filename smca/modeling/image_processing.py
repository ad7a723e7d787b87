"""Pictures -> pixel_values [B, 3, H, W] and pixel_mask [B, H, W] (1 = image), and model outputs -> detections.

The one preprocessing of training, evaluation, prediction, export and serving: resize the short side to `shortest_edge`
unless the long one would pass `longest_edge` (bilinear, antialiased, uint8), scale to [0, 1], normalise with the mean
and deviation that the backbone's weights expect (`pixel_statistics`), pad at the right and bottom. Source:
transformers' Deformable DETR processor, whose steps it keeps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from timm.models import get_pretrained_cfg
from torch import Tensor
from torchvision.ops import box_convert
from torchvision.transforms.v2.functional import InterpolationMode
from transformers import DeformableDetrImageProcessor, PreTrainedConfig
from transformers.image_transforms import get_size_with_aspect_ratio
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, SizeDict
from transformers.models.deformable_detr.image_processing_deformable_detr import DeformableDetrImageProcessorKwargs

from smca.errors import ModelError
from smca.modeling.outputs import SmcaObjectDetectionOutput

MOST = 100


class PixelStatistics(NamedTuple):
    """Mean and deviation of red, green and blue in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def pixel_statistics(backbone: str) -> PixelStatistics:
    """What the published weights of that backbone were trained on: ImageNet's, but for some of timm's."""
    if backbone.startswith("timm/"):
        known = get_pretrained_cfg(backbone.removeprefix("timm/"), allow_unregistered=True)
        if known is not None:
            return PixelStatistics(tuple(known.mean), tuple(known.std))
    return PixelStatistics(tuple(IMAGENET_DEFAULT_MEAN), tuple(IMAGENET_DEFAULT_STD))


class SmcaImageProcessorKwargs(DeformableDetrImageProcessorKwargs, total=False):
    """class_loss: the model's, "focal" or "softmax"."""

    class_loss: str


class SmcaImageProcessor(DeformableDetrImageProcessor):
    """Post-processing keeps as many (query, class) pairs as there are queries, best first."""

    valid_kwargs = SmcaImageProcessorKwargs
    class_loss = "focal"

    @classmethod
    def suited_to(cls, config: PreTrainedConfig, size: dict[str, int] | None = None) -> SmcaImageProcessor:
        """The processor of a model that has none yet: its loss, its backbone's pixels, and `size` or the paper's."""
        pixels = pixel_statistics(getattr(config, "backbone", ""))
        kind = getattr(config, "class_loss", cls.class_loss)
        return cls(size=size, image_mean=pixels.mean, image_std=pixels.std, class_loss=kind)

    def resize(
        self,
        image: Tensor,
        size: SizeDict,
        resample: InterpolationMode | int | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """As transformers does it, but never to less than one pixel: a side of a 1x5000 image would round to none."""
        if size.shortest_edge and size.longest_edge:
            sides = get_size_with_aspect_ratio(tuple(image.shape[-2:]), size.shortest_edge, size.longest_edge)
            size = SizeDict(height=max(1, sides[0]), width=max(1, sides[1]))
        return super().resize(image, size, resample, **kwargs)

    def post_process_object_detection(
        self,
        outputs: SmcaObjectDetectionOutput,
        threshold: float = 0.5,
        target_sizes: Any = None,
        top_k: int | None = None,
    ) -> list[dict[str, Tensor]]:
        """Per image: scores [n] descending, above `threshold`, labels [n], boxes [n, 4] x1 y1 x2 y2 inside the image.

        top_k: how many (query, class) pairs to look at; by default as many as queries, and at least the `MOST` that
        COCO looks at. target_sizes: (height, width) of every original image, as list or tensor; None leaves boxes
        relative. Under softmax a pair's score is its class probability with "no object" set aside.
        """
        logits, boxes = outputs.logits, outputs.pred_boxes
        if logits is None or boxes is None:
            raise ModelError("the output has no logits or no pred_boxes; both are needed for detections")
        scores = logits.sigmoid() if self.class_loss == "focal" else logits.softmax(-1)[..., :-1]
        classes = scores.shape[-1]
        best, pair = scores.flatten(1).topk(min(top_k or max(MOST, logits.shape[1]), scores[0].numel()))
        corners = box_convert(boxes.gather(1, (pair // classes)[..., None].expand(-1, -1, 4)), "cxcywh", "xyxy")
        corners = corners.clamp(0, 1)
        if target_sizes is not None:
            height, width = torch.as_tensor(target_sizes, device=boxes.device).unbind(1)
            corners = corners * torch.stack([width, height, width, height], dim=-1)[:, None]
        results = zip(best, pair % classes, pair // classes, corners, strict=True)
        return [
            {
                "scores": s[s > threshold],
                "labels": c[s > threshold],
                "boxes": b[s > threshold],
                "queries": q[s > threshold],
            }
            for s, c, q, b in results
        ]
