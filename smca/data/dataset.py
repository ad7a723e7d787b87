"""From records to batches a model takes.

Training items are augmented images with boxes as the model learns them: (cx, cy, w, h) normalised to the
unpadded image. Item i of epoch e is a function of (seed, e, i) alone, whatever the number of workers and processes.
Evaluation items are the images as they are; the image processor resizes them. `Collate` makes the batch: the
processor normalises and pads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision.ops import box_convert

from smca.data.images import load_image
from smca.data.records import Record
from smca.data.transforms import TrainTransform
from smca.sizes import ImageSize

Item = dict[str, Any]
NOBODY = -1  # stands for an image where several processes need batches and there is none left


def seed_for(*numbers: int) -> int:
    """One seed of 64 bits from several numbers, 0 or more."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def generator_for(seed: int, epoch: int, index: int) -> torch.Generator:
    """The random stream of one item of one epoch, whichever process asks."""
    return torch.Generator().manual_seed(seed_for(seed, epoch, index))


class TrainDataset(Dataset[Item]):
    """Items {"image" uint8 [3, H, W], "boxes" float32 [n, 4], "class_labels" int64 [n], "record" i}, crowd left out.

    Item NOBODY is a black image without boxes.
    """

    def __init__(self, records: Sequence[Record], transform: TrainTransform, seed: int = 0) -> None:
        self.records = records
        self.transform = transform
        self.seed = seed
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Change the random draws; reaches workers that are already running."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.records)

    def size_of(self, index: int) -> ImageSize:
        """The size that item has in this epoch, without reading the image."""
        return self.transform.plan(self.records[index].size, self._draws(index)).size

    def _draws(self, index: int) -> torch.Generator:
        return generator_for(self.seed, int(self._epoch), index)

    def __getitem__(self, index: int) -> Item:
        if index == NOBODY:
            nothing = {"boxes": torch.zeros(0, 4), "class_labels": torch.zeros(0, dtype=torch.int64)}
            return {"image": torch.zeros(3, 128, 128, dtype=torch.uint8), **nothing, "record": NOBODY}
        record = self.records[index]
        boxes, labels = map(torch.from_numpy, record.trainable)
        image, boxes, labels = self.transform(load_image(record.path), boxes, labels, self._draws(index))
        height, width = image.shape[-2:]
        normalised = box_convert(boxes, "xyxy", "cxcywh") / boxes.new_tensor([width, height, width, height])
        return {"image": image, "boxes": normalised, "class_labels": labels, "record": index}


class EvalDataset(Dataset[Item]):
    """Items {"image" uint8 [3, H, W] of full size, "record" i}."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Item:
        return {"image": load_image(self.records[index].path), "record": index}


class Collate:
    """Items -> one batch; a class so that workers can be handed it."""

    def __init__(self, processor: Callable[..., Any], train: bool) -> None:
        self.processor = processor
        self.train = train

    def __call__(self, items: Sequence[Item]) -> Item:
        """Keys pixel_values [B, 3, H, W], pixel_mask [B, H, W], records int64 [B]; labels in training.

        NOBODY is left out, or alone.
        """
        items = [item for item in items if item["record"] != NOBODY] or items[:1]
        batch = self.processor(
            images=[item["image"] for item in items],
            do_resize=not self.train,
            input_data_format="channels_first",
            return_tensors="pt",
        )
        result = {key: batch[key] for key in ("pixel_values", "pixel_mask")}
        result["records"] = torch.tensor([item["record"] for item in items])
        if self.train:
            result["labels"] = [{key: item[key] for key in ("class_labels", "boxes")} for item in items]
        return result
