"""The order of training images: random, but neighbours are of a size, so that a batch pads little.

Of every `POOL` batches' worth of a random order the images are sorted by the size that they will have after their
augmentation in this epoch, cut into batches, and the batches shuffled. An epoch's order is a function of (seed, epoch)
alone. Images of one size stay in random order. A batch is that of an update: its parts, on one device or several, are
neighbours too, and how many there are changes nothing. Where several devices need equally many parts, the last ones
are filled with `NOBODY`, which is no image (dataset.py), instead of images that were there before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from smca.data.dataset import NOBODY, TrainDataset, generator_for

POOL = 32


class SimilarSizes(Sampler[int]):
    """Indices of a data set, to be cut into batches of `batch`; their number is a multiple of `multiple`."""

    def __init__(self, dataset: TrainDataset, batch: int, seed: int, multiple: int = 1) -> None:
        self.dataset = dataset
        self.batch = batch
        self.seed = seed
        self.multiple = multiple
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Another order, and other draws of the data set's."""
        self.epoch = epoch
        self.dataset.set_epoch(epoch)

    def __len__(self) -> int:
        return math.ceil(len(self.dataset) / self.multiple) * self.multiple

    def __iter__(self) -> Iterator[int]:
        generator = generator_for(self.seed, self.epoch, len(self.dataset))
        order = torch.randperm(len(self.dataset), generator=generator)
        for pool in order.split(POOL * self.batch):
            alike = torch.tensor(sorted(pool.tolist(), key=self._shape))
            whole = len(alike) // self.batch
            batches = alike[: whole * self.batch].view(whole, self.batch)
            yield from batches[torch.randperm(whole, generator=generator)].flatten().tolist()
            yield from alike[whole * self.batch :].tolist()
        yield from [NOBODY] * (len(self) - len(self.dataset))

    def _shape(self, index: int) -> tuple[bool, int, int]:
        """Upright or not, shorter side, longer side."""
        size = self.dataset.size_of(index)
        return size.height > size.width, min(size), max(size)
