"""Finding objects in pictures: any number of them in any form -> one `Detections` each, in the same order.

An image's detections do not depend on what it is batched with. The default threshold is the model's own,
`model.config.threshold` (best F1 on val). Raises DataError for a picture that cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from smca.detections import Detections
from smca.inference.forward import detect, evaluating
from smca.inference.loading import Processor, processor_of
from smca.inference.sources import ImageSource, describe, read_image
from smca.sizes import ImageSize

UNTRAINED_THRESHOLD = 0.5


def predict(
    model: PreTrainedModel,
    processor: Processor,
    images: Sequence[ImageSource] | str | Path | Image.Image,
    threshold: float | None = None,
    batch: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Detections]:
    """Return the detections with a score of at least `threshold`; `batch` images go through at once."""
    if isinstance(images, str | Path | Image.Image):
        images = [images]
    found: list[Detections] = []
    for start in range(0, len(images), batch):
        chunk = images[start : start + batch]
        names = [describe(image, start + i) for i, image in enumerate(chunk)]
        found += predict_batch(model, processor, [read_image(image) for image in chunk], names, threshold)
        if progress:
            progress(len(found), len(images))
    return found


def predict_with(
    model: PreTrainedModel, images: Sequence[ImageSource], threshold: float | None = None
) -> list[Detections]:
    """Predict one by one with the processor that belongs to the model."""
    return predict(model, processor_of(model), images, threshold)


def predict_batch(
    model: PreTrainedModel,
    processor: Processor,
    images: Sequence[Tensor],
    names: Sequence[str],
    threshold: float | None = None,
) -> list[Detections]:
    """Return the detections in uint8 images [3, height, width] that go through the model together."""
    sizes = [ImageSize(height=image.shape[1], width=image.shape[2]) for image in images]
    lowest = threshold_of(model) if threshold is None else threshold
    inputs = processor(images=list(images), input_data_format="channels_first", return_tensors="pt").to(model.device)
    with evaluating(model):
        found = detect(model, processor, inputs, sizes, names)
    return [detections.above(lowest) for detections in found]


def threshold_of(model: PreTrainedModel) -> float:
    """Return the model's own threshold; one half for a model that states none."""
    return float(getattr(model.config, "threshold", UNTRAINED_THRESHOLD))
