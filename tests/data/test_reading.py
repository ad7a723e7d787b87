from __future__ import annotations

from pathlib import Path

import pytest

from smca.data.reading import read_data, read_split
from smca.errors import ConfigurationError, DataError
from tests.data.conftest import CocoWriter, annotation

TEN = [{"id": i, "file_name": f"{i}.png"} for i in range(10)]


@pytest.mark.parametrize(
    ("train", "train_images", "val", "val_images"),
    [
        (
            "annotations/instances_train2017.json",
            "train2017",
            "annotations/instances_val2017.json",
            "val2017",
        ),
        (
            "annotations/instances_train2017.json",
            "images/train2017",
            "annotations/instances_val2017.json",
            "images",
        ),
        ("train.json", "images", "val.json", "images"),
        ("train.json", ".", "val.json", "."),
        ("train.json", "train", "val.json", "val"),
        ("train/_annotations.coco.json", "train", "valid/_annotations.coco.json", "valid"),
    ],
)
def test_layouts(
    write_coco: CocoWriter, tmp_path: Path, train: str, train_images: str, val: str, val_images: str
) -> None:
    write_coco(train, folder=train_images, annotations=[annotation()])
    write_coco(val, folder=val_images, images=[{"id": 2, "file_name": "b.png"}])
    data = read_data(tmp_path)
    assert data.val is not None
    assert [record.image_id for record in (*data.train.records, *data.val.records)] == [1, 2]
    assert (data.train.name, data.val.name) == ("train", "val")
    assert data.train.findings.total == 0


def test_a_file_answers_to_every_split(write_coco: CocoWriter) -> None:
    file = write_coco("annotations/instances_mine.json", folder="mine", images=TEN)
    assert len(read_split(file, "val").records) == 10
    with pytest.raises(DataError, match=r"--val-fraction 0\.2"):
        read_data(file)


def test_val_fraction_is_disjoint_complete_and_follows_the_seed(write_coco: CocoWriter, tmp_path: Path) -> None:
    write_coco(images=TEN)

    def parts(seed: int) -> tuple[list[object], list[object]]:
        data = read_data(tmp_path, val_fraction=0.3, seed=seed)
        assert data.val is not None
        return [r.image_id for r in data.train.records], [r.image_id for r in data.val.records]

    train, val = parts(0)
    assert len(val) == 3
    assert sorted([*train, *val], key=str) == list(range(10))
    assert parts(0) == (train, val)
    assert len({str(parts(seed)) for seed in range(5)}) > 1


def test_val_fraction_keeps_one_image_on_each_side(write_coco: CocoWriter, tmp_path: Path) -> None:
    write_coco(images=TEN[:2])
    for fraction in (0.01, 0.99):
        data = read_data(tmp_path, val_fraction=fraction)
        assert data.val is not None
        assert (len(data.train.records), len(data.val.records)) == (1, 1)


def test_one_image_cannot_be_split(write_coco: CocoWriter, tmp_path: Path) -> None:
    write_coco()
    with pytest.raises(DataError, match="too few"):
        read_data(tmp_path, val_fraction=0.5)
    assert read_data(tmp_path, need_val=False).val is None


def test_no_val_says_how_to_make_one(write_coco: CocoWriter, tmp_path: Path) -> None:
    write_coco()
    with pytest.raises(DataError, match=r"has no val split: make one with --val-fraction 0\.2"):
        read_data(tmp_path)
    with pytest.raises(DataError, match="has no val split, only train"):
        read_split(tmp_path, "val")


def test_val_fraction_beside_a_val_and_out_of_range(write_coco: CocoWriter, tmp_path: Path) -> None:
    write_coco()
    write_coco("val.json")
    with pytest.raises(ConfigurationError, match="val split of its own"):
        read_data(tmp_path, val_fraction=0.2)
    with pytest.raises(ConfigurationError, match="--val-fraction is 20"):
        read_data(tmp_path, val_fraction=20)


def test_val_takes_the_labels_of_train(write_coco: CocoWriter, tmp_path: Path) -> None:
    write_coco(categories=[{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}])
    write_coco("val.json", annotations=[annotation(category=0)], categories=[{"id": 0, "name": "dog"}])
    data = read_data(tmp_path)
    assert data.val is not None
    assert data.val.records[0].labels.tolist() == [1]
    assert data.val.category_ids == (1, 2)
    write_coco("val.json", categories=[{"id": 1, "name": "cow"}])
    with pytest.raises(DataError, match=r"val has categories .* found 'cow', allowed 'cat', 'dog'"):
        read_data(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        read_data(tmp_path / "absent")
    with pytest.raises(DataError, match=r"no data set recognised .* looked for .*; found nothing \(it is empty\)"):
        read_data(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"train\.json.*found notes\.txt"):
        read_data(tmp_path)
    with pytest.raises(DataError, match="is not a data set"):
        read_data(tmp_path / "notes.txt")


def test_missing_folder_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "bccd").mkdir()
    with pytest.raises(DataError, match="Did you mean 'bccd'"):
        read_data(tmp_path / "bcd")


def test_coco200_has_the_counts_of_its_readme(shared: Path) -> None:
    data = read_data(shared / "data" / "coco200")
    assert data.val is not None
    for split, boxes, crowd, empty in ((data.train, 737, 6, 2), (data.val, 686, 5, 0)):
        assert len(split.records) == 98
        assert sum(int((~r.crowd).sum()) for r in split.records) == boxes
        assert sum(int(r.crowd.sum()) for r in split.records) == crowd
        assert sum(len(r.boxes) == 0 for r in split.records) == empty
        assert len(split.class_names) == 80
        assert (split.category_ids[0], split.category_ids[-1]) == (1, 90)
        assert split.findings.total == 0
