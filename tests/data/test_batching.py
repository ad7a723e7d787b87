from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from smca.data.batching import SimilarSizes
from smca.data.dataset import TrainDataset
from smca.data.records import Record
from smca.data.transforms import Augmentation, TrainTransform
from smca.sizes import ImageSize

BATCH = 4
MANY = 403


def dataset_of(sizes: list[tuple[int, int]], augmentation: Augmentation) -> TrainDataset:
    none = np.zeros(0)
    records = [
        Record(i, Path(f"{i}.jpg"), ImageSize(height=h, width=w), none.reshape(0, 4), none, none, none)
        for i, (h, w) in enumerate(sizes)
    ]
    return TrainDataset(records, TrainTransform(augmentation))


@pytest.fixture(scope="module")
def mixed() -> TrainDataset:
    """Upright and lying pictures under the paper's augmentation."""
    draw = torch.Generator().manual_seed(0)
    sizes = torch.randint(300, 640, (MANY, 2), generator=draw).tolist()
    return dataset_of([(height, width) for height, width in sizes], Augmentation.paper())


def padding_share(dataset: TrainDataset, order: list[int]) -> float:
    """Part of the pixels of all batches that is padding."""
    image = padded = 0
    for start in range(0, len(order), BATCH):
        sizes = [dataset.size_of(index) for index in order[start : start + BATCH]]
        image += sum(size.height * size.width for size in sizes)
        padded += len(sizes) * max(size.height for size in sizes) * max(size.width for size in sizes)
    return 1 - image / padded


def test_every_epoch_has_every_image_once_in_an_order_of_its_own(mixed: TrainDataset) -> None:
    orders = []
    for seed, epoch in ((0, 0), (0, 1), (1, 1), (0, 0)):
        sampler = SimilarSizes(mixed, BATCH, seed)
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert all(sorted(order) == list(range(MANY)) for order in orders)
    assert orders[0] == orders[3]
    assert len({tuple(order) for order in orders}) == 3


def test_batches_pad_less_than_half_of_what_random_ones_do(mixed: TrainDataset) -> None:
    for epoch in range(2):
        sampler = SimilarSizes(mixed, BATCH, seed=0)
        sampler.set_epoch(epoch)
        order = list(sampler)
        shuffled = torch.randperm(MANY, generator=torch.Generator().manual_seed(epoch)).tolist()
        assert padding_share(mixed, order) < padding_share(mixed, shuffled) / 2


def test_images_of_one_size_stay_in_random_order() -> None:
    order = list(SimilarSizes(dataset_of([(48, 64)] * MANY, Augmentation.none(48, 64)), BATCH, seed=0))
    rising = sum(a < b for a, b in pairwise(order))
    assert 0.4 * MANY < rising < 0.6 * MANY


def test_only_the_last_batch_is_short(mixed: TrainDataset) -> None:
    """Every batch but the last holds images that were neighbours in size."""
    order = list(SimilarSizes(mixed, BATCH, seed=0))
    batches = [order[start : start + BATCH] for start in range(0, MANY, BATCH)]
    upright = [{mixed.size_of(i).height > mixed.size_of(i).width for i in batch} for batch in batches]
    assert len(batches[-1]) == MANY % BATCH
    assert sum(len(kinds) == 2 for kinds in upright) <= 4  # where a pool turns from lying to upright
