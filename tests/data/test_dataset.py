from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from transformers import DeformableDetrImageProcessor

from smca.data.dataset import Collate, EvalDataset, TrainDataset, generator_for
from smca.data.records import Record
from smca.data.transforms import Augmentation, TrainTransform
from smca.errors import DataError
from smca.sizes import ImageSize

AUGMENTATION = Augmentation.paper(short_side=48)


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    return [_record(tmp_path / f"{i}.png", width=64 + 20 * i, boxes=i) for i in range(3)]


def _record(path: Path, width: int, boxes: int) -> Record:
    noise = np.random.default_rng(width).integers(0, 256, (48, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    corners = np.array([[4, 6, 20, 30], [10, 10, 40, 40]][:boxes], np.float32).reshape(-1, 4)
    crowd = np.array([False, True][:boxes], bool)
    size = ImageSize(height=48, width=width)
    return Record(path.name, path, size, corners, np.arange(boxes), crowd, np.ones(boxes))


def train_set(records: list[Record], seed: int = 0) -> TrainDataset:
    return TrainDataset(records, TrainTransform(AUGMENTATION), seed)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(torch.as_tensor(first[key]), torch.as_tensor(second[key])) for key in first)


def test_boxes_are_centres_and_sizes_relative_to_the_image(records: list[Record]) -> None:
    dataset = TrainDataset(records, TrainTransform(Augmentation.none(96, 400)))
    item = dataset[2]
    assert item["image"].shape == (3, 96, 208)
    width, height = 104, 48
    expected = [12 / width, 18 / height, 16 / width, 24 / height]
    assert item["boxes"].tolist() == [pytest.approx(expected)]  # the second box is a crowd region
    assert item["class_labels"].tolist() == [0]
    assert item["record"] == 2


def test_every_item_of_every_epoch_has_random_numbers_of_its_own() -> None:
    places = [(0, 0, 2), (1, 0, 2), (0, 1, 2), (0, 0, 1)]
    assert len({generator_for(*place).initial_seed() for place in places}) == 4


def test_image_without_objects(records: list[Record]) -> None:
    item = train_set(records)[0]
    assert item["boxes"].shape == (0, 4)
    assert (item["boxes"].dtype, item["class_labels"].dtype) == (torch.float32, torch.int64)


def test_items_follow_seed_epoch_and_index_alone(records: list[Record]) -> None:
    dataset, again, other = train_set(records), train_set(records), train_set(records, seed=1)
    first = dataset[2]
    assert same(first, again[2])
    assert not same(first, other[2])
    repeated = []
    for epoch in range(1, 6):
        dataset.set_epoch(epoch)
        repeated.append(same(first, dataset[2]))
    assert not all(repeated)
    dataset.set_epoch(0)
    assert same(first, dataset[2])


def test_epoch_reaches_persistent_workers(records: list[Record]) -> None:
    dataset = train_set(records)
    loader = DataLoader(dataset, batch_size=None, num_workers=1, persistent_workers=True)
    for epoch in range(3):
        dataset.set_epoch(epoch)
        assert all(same(item, dataset[i]) for i, item in enumerate(loader))


def test_training_batch_is_padded_and_labelled(records: list[Record]) -> None:
    dataset = train_set(records)
    items = [dataset[i] for i in range(3)]
    batch = Collate(DeformableDetrImageProcessor(), train=True)(items)
    assert batch["pixel_values"].shape[0] == 3
    for item, mask in zip(items, batch["pixel_mask"], strict=True):
        height, width = item["image"].shape[1:]
        assert mask[:height, :width].all()
        assert mask.sum() == height * width
    assert batch["records"].tolist() == [0, 1, 2]
    assert [set(label) for label in batch["labels"]] == [{"class_labels", "boxes"}] * 3


def test_evaluation_batch_is_resized_by_the_processor_and_has_no_labels(records: list[Record]) -> None:
    dataset = EvalDataset(records)
    assert len(dataset) == 3
    assert dataset[1]["image"].shape == (3, 48, 84)
    processor = DeformableDetrImageProcessor(size={"shortest_edge": 24, "longest_edge": 100})
    batch = Collate(processor, train=False)([dataset[1]])
    assert batch["pixel_values"].shape == (1, 3, 24, 42)
    assert set(batch) == {"pixel_values", "pixel_mask", "records"}


def test_an_image_three_pixels_wide_is_not_taken_for_channels_last(tmp_path: Path) -> None:
    record = _record(tmp_path / "thin.png", width=3, boxes=0)
    processor = DeformableDetrImageProcessor(size={"shortest_edge": 3, "longest_edge": 48})
    batch = Collate(processor, train=False)([EvalDataset([record])[0]])
    assert batch["pixel_values"].shape == (1, 3, 48, 3)


def test_a_broken_image_names_itself(records: list[Record]) -> None:
    records[1].path.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"1\.png"):
        train_set(records)[1]


def test_the_size_of_an_item_is_known_before_its_image_is_read(records: list[Record]) -> None:
    dataset = train_set(records)
    for epoch in range(4):
        dataset.set_epoch(epoch)
        for index in range(len(records)):
            assert tuple(dataset.size_of(index)) == tuple(dataset[index]["image"].shape[1:])
