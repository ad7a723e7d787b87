"""The input pipeline: images a second of one core, what batches pad, and whether training waits for it.

Against torchvision's own way to feed a detector (its v2 transforms: decode, flip, resize the shorter side to one of
several, to float, normalise), on the same JPEG files at the same sizes. Both end with one image's normalised pixels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from smca.benchmark.models import learning
from smca.benchmark.timing import Ratio, Work, in_turn, ratio_of
from smca.data.batching import SimilarSizes
from smca.data.dataset import Collate, TrainDataset
from smca.data.reading import read_split
from smca.data.records import Record
from smca.data.scenes import make_scenes
from smca.data.transforms import Augmentation, TrainTransform
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.image_processing import SmcaImageProcessor
from smca.sizes import ImageSize
from smca.training.recipes.small import smca_tiny

IMAGES = 20
BATCH = 8
LARGE = ImageSize(height=480, width=640)  # the commonest size of COCO
SHORT_SIDES = Augmentation.paper().short_sides
COMMON_SIZES = ((480, 640), (640, 480), (427, 640), (640, 427), (500, 375), (375, 500), (612, 612), (333, 500))


def _boxes_of(record: Record) -> tv_tensors.BoundingBoxes:
    options: dict[str, Any] = {"format": tv_tensors.BoundingBoxFormat.XYXY, "canvas_size": tuple(record.size)}
    return tv_tensors.BoundingBoxes(torch.from_numpy(record.boxes), **options)


def reference(records: Sequence[Record]) -> Work:
    """Torchvision's detection pipeline over the records."""
    steps = v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomShortestSize(list(SHORT_SIDES), max_size=1333),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
            v2.SanitizeBoundingBoxes(),
        ]
    )

    def work() -> None:
        for record in records:
            image = tv_tensors.Image(decode_image(str(record.path), ImageReadMode.RGB))
            steps(image, {"boxes": _boxes_of(record), "labels": torch.from_numpy(record.labels)})

    return work


def ours(records: Sequence[Record], augmentation: Augmentation) -> Work:
    """Our training pipeline over the records, image by image, batches of one."""
    dataset = TrainDataset(records, TrainTransform(augmentation))
    collate = Collate(SmcaImageProcessor(), train=True)

    def work() -> None:
        for index in range(len(records)):
            collate([dataset[index]])

    return work


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Arithmetic on that many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def speed(rounds: int) -> list[Ratio]:
    """Ours against torchvision's on one thread, and against the training step that waits for it."""
    with tempfile.TemporaryDirectory() as folder, _threads(1):
        large = make_scenes(Path(folder) / "large", IMAGES + 4, size=LARGE)
        records = read_split(large, "train").records[:IMAGES]
        same = Augmentation(short_sides=SHORT_SIDES, long_side=1333, crop=0.0)
        cases = {"ours": ours(records, same), "torchvision's": reference(records)}
        seconds = in_turn(cases, rounds)
        setting = f"{IMAGES} JPEG files of 640x480, shorter side {SHORT_SIDES[0]} to {SHORT_SIDES[-1]}, one core"
        found = [ratio_of(seconds, "ours", "torchvision's", "input pipeline", setting)]
        return found + _waiting(Path(folder), rounds)


def _waiting(folder: Path, rounds: int) -> list[Ratio]:
    recipe = smca_tiny()
    records = read_split(make_scenes(folder / "tiny", 8), "train").records[: recipe.optimisation.batch]
    model = SmcaForObjectDetection(recipe.config())
    model.backbone.to(memory_format=torch.channels_last)
    pixels = torch.randn(len(records), 3, recipe.image_size, recipe.image_size)
    cases: dict[str, Work] = {
        "loading a batch": ours(records, recipe.augmentation),
        "a training step": learning(model, pixels),
    }
    seconds = in_turn(cases, rounds)
    setting = f"smca-tiny, batch {len(records)} of {recipe.image_size}x{recipe.image_size}, one core, fp32"
    return [ratio_of(seconds, "loading a batch", "a training step", "input pipeline", setting, limit=1.0)]


def padding_shares(images: int = 2000) -> dict[str, float]:
    """Part of all batches' pixels that is padding under the paper's augmentation: in random order, and in ours."""
    draw = np.random.default_rng(0)
    sizes = [ImageSize(*COMMON_SIZES[i]) for i in draw.integers(len(COMMON_SIZES), size=images)]
    none = np.zeros(0)
    records = [Record(i, Path(), size, none.reshape(0, 4), none, none, none) for i, size in enumerate(sizes)]
    dataset = TrainDataset(records, TrainTransform(Augmentation.paper()))
    orders = {"random order": draw.permutation(images).tolist(), "similar sizes": list(SimilarSizes(dataset, BATCH, 0))}
    return {name: _padding(dataset, order) for name, order in orders.items()}


def _padding(dataset: TrainDataset, order: list[int]) -> float:
    image = padded = 0
    for start in range(0, len(order), BATCH):
        sizes = Tensor([dataset.size_of(index) for index in order[start : start + BATCH]])
        image += sizes.prod(dim=1).sum().item()
        padded += len(sizes) * sizes.amax(dim=0).prod().item()
    return 1 - image / padded
