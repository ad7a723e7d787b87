"""One batch through a model, as evaluation and prediction both need it: inputs -> `Detections`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from smca.detections import Detections
from smca.errors import ModelError
from smca.inference.loading import Processor, class_names
from smca.sizes import ImageSize


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """The model in evaluation mode and without gradients; afterwards in the mode it was in."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def detect(
    model: PreTrainedModel,
    processor: Processor,
    inputs: Mapping[str, Tensor],
    sizes: Sequence[ImageSize],
    sources: Sequence[str],
) -> list[Detections]:
    """All that the processor keeps of each image, best first, whatever the score.

    inputs: "pixel_values" and "pixel_mask" on the model's device; the rest as `post_processed` takes it.
    """
    kept = post_processed(model(**inputs), processor, sizes, sources)
    names = class_names(model)
    return [to_detections(one, size, names) for one, size in zip(kept, sizes, strict=True)]


def post_processed(
    outputs: Any, processor: Processor, sizes: Sequence[ImageSize], sources: Sequence[str]
) -> list[dict[str, Tensor]]:
    """What the processor keeps of a model's outputs, image by image and best first, whatever the score.

    sizes: of the original images, in whose pixels the boxes are; sources: what to call the images. Raises ModelError
    for predictions that are NaN or infinite.
    """
    outputs.logits, outputs.pred_boxes = outputs.logits.float(), outputs.pred_boxes.float()
    finite = torch.cat([outputs.logits, outputs.pred_boxes], dim=-1).isfinite().all(dim=-1).all(dim=-1).tolist()
    if not all(finite):
        source = sources[finite.index(False)]
        raise ModelError(f"the model's prediction for {source} is NaN or infinite; its weights may have diverged")
    return processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=[tuple(s) for s in sizes])


def to_detections(one: Mapping[str, Tensor], size: ImageSize, names: Sequence[str]) -> Detections:
    """The processor's "boxes", "scores" and "labels" of one image, clipped to it and with names."""
    limits = torch.tensor([size.width, size.height, size.width, size.height], device=one["boxes"].device)
    labels = one["labels"].cpu().numpy()
    return Detections(
        boxes=one["boxes"].clamp(min=0).minimum(limits).float().cpu().numpy(),
        scores=one["scores"].float().cpu().numpy(),
        labels=labels,
        names=tuple(names[label] for label in labels.tolist()),
        size=size,
    )
