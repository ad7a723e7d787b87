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
from smca.inference.tiling import predict_tiled, tile_side
from smca.sizes import ImageSize

UNTRAINED_THRESHOLD = 0.5


def predict(
    model: PreTrainedModel,
    processor: Processor,
    images: Sequence[ImageSource] | str | Path | Image.Image,
    threshold: float | None = None,
    batch: int = 1,
    progress: Callable[[int, int], None] | None = None,
    tile: int | bool = False,
) -> list[Detections]:
    """Return the detections with a score of at least `threshold`; `batch` images go through at once.

    tile: see large images in tiles too (`smca.inference.tiling`), of so many pixels a side, True for the model's own.
    """
    predictor = Predictor(model, processor, threshold, tile, batch)
    if isinstance(images, str | Path | Image.Image):
        images = [images]
    found: list[Detections] = []
    for start in range(0, len(images), batch):
        chunk = images[start : start + batch]
        names = [describe(image, start + i) for i, image in enumerate(chunk)]
        found += predictor([read_image(image) for image in chunk], names)
        if progress:
            progress(len(found), len(images))
    return found


def predict_with(
    model: PreTrainedModel, images: Sequence[ImageSource], threshold: float | None = None, tile: int | bool = False
) -> list[Detections]:
    """Predict one by one with the processor that belongs to the model."""
    return predict(model, processor_of(model), images, threshold, tile=tile)


class Predictor:
    """A model and how it is asked: uint8 images [3, height, width] -> detections.

    full: how many images or tiles held as many objects as the model has queries, so that it may have missed some.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: Processor,
        threshold: float | None = None,
        tile: int | bool = False,
        batch: int = 1,
    ) -> None:
        self.full = 0
        self._model = model
        self._processor = processor
        self._threshold = threshold_of(model) if threshold is None else threshold
        self._side = tile_side(tile, processor) if tile is not False else None
        self._batch = batch
        self._queries = getattr(model.config, "num_queries", None)

    def __call__(
        self, images: Sequence[Tensor], names: Sequence[str], progress: Callable[[int, int], None] | None = None
    ) -> list[Detections]:
        """Return the detections of each image; `progress` hears of the tiles of each."""
        if self._side is None:
            return self._see(images, names)
        return [
            predict_tiled(self._namely(name), image, self._side, self._batch, progress)
            for image, name in zip(images, names, strict=True)
        ]

    def _namely(self, name: str) -> Callable[[Sequence[Tensor]], list[Detections]]:
        return lambda views: self._see(views, [name] * len(views))

    def _see(self, images: Sequence[Tensor], names: Sequence[str]) -> list[Detections]:
        found = predict_batch(self._model, self._processor, images, names, self._threshold)
        if self._queries and self._threshold > 0:
            self.full += sum(len(detections) >= self._queries for detections in found)
        return found


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
