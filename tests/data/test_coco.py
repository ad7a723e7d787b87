from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from smca.data.coco import read_coco
from smca.data.records import Split
from smca.errors import DataError
from tests.data.conftest import CocoWriter, annotation


def read(file: Path, strict: bool = False) -> Split:
    return read_coco(file, [file.parent / "images"], "train", strict)


def test_classes_follow_ids_with_gaps_and_classes_without_boxes(write_coco: CocoWriter) -> None:
    categories = [{"id": 90, "name": "dog"}, {"id": 3, "name": "cat"}, {"id": 44, "name": "cow"}]
    boxes = [annotation(category=90), annotation(category=3), annotation(category=90.0)]
    split = read(write_coco(annotations=boxes, categories=categories))
    assert split.class_names == ("cat", "cow", "dog")
    assert split.category_ids == (3, 44, 90)
    assert split.records[0].labels.tolist() == [2, 0, 2]


def test_texts_are_ids_too(write_coco: CocoWriter) -> None:
    images = [{"id": "x-1", "file_name": "a.png"}]
    categories = [{"id": "b", "name": "dog"}, {"id": "a", "name": "cat"}]
    split = read(write_coco(images=images, annotations=[annotation(image="x-1", category="b")], categories=categories))
    assert split.category_ids == ("a", "b")
    assert split.records[0].image_id == "x-1"
    assert split.records[0].labels.tolist() == [1]


def test_crowd_area_and_corners(write_coco: CocoWriter) -> None:
    boxes = [annotation([1, 2, 10, 20], iscrowd=1, area=5.5), annotation([1.5, 2, 3, 4])]
    record = read(write_coco(annotations=boxes)).records[0]
    assert record.boxes.tolist() == [[1, 2, 11, 22], [1.5, 2, 4.5, 6]]
    assert record.crowd.tolist() == [True, False]
    assert record.areas.tolist() == [5.5, 12]
    assert record.trainable[0].shape == (1, 4)


def test_image_without_objects(write_coco: CocoWriter) -> None:
    record = read(write_coco()).records[0]
    assert record.boxes.shape == (0, 4)
    assert (record.boxes.dtype, record.labels.dtype, record.crowd.dtype) == (np.float32, np.int64, np.bool_)


def test_bad_boxes_are_counted(write_coco: CocoWriter) -> None:
    outside, partly, flat, negative = [70, 2, 5, 5], [60, 40, 10, 10], [1, 1, 0, 5], [9, 9, -3, 4]
    broken = [float("nan"), 1, 2, 3]
    boxes = [annotation(box) for box in (outside, partly, flat, negative, broken, [1e300, 0, 1e300, 1e300])]
    split = read(write_coco(annotations=boxes))
    assert split.records[0].boxes.tolist() == [[60, 40, 64, 48]]
    assert len(split.findings.clipped_boxes) == 1
    assert len(split.findings.dropped_boxes) == 5
    assert "annotation 7 (a.png)" in split.findings.clipped_boxes[0]


def test_unknown_references_are_counted(write_coco: CocoWriter) -> None:
    boxes = [annotation(image=5), annotation(image="1"), annotation(category=2), annotation()]
    split = read(write_coco(annotations=boxes))
    assert len(split.findings.unknown_images) == 2
    assert len(split.findings.unknown_categories) == 1
    assert len(split.records[0].boxes) == 1


def test_lost_images_are_listed_and_strict_stops(write_coco: CocoWriter) -> None:
    file = write_coco(images=[{"id": i, "file_name": f"{i}.png"} for i in range(4)])
    (file.parent / "images/1.png").unlink()
    broken = file.parent / "images/2.png"
    broken.write_bytes(broken.read_bytes()[:60])
    split = read(file)
    assert [record.image_id for record in split.records] == [0, 3]
    assert split.findings.missing_images == ["1.png"]
    assert "2.png cannot be read" in split.findings.unreadable_images[0]
    with pytest.raises(DataError, match=r"of 4 images 1 are missing and 1 unreadable: 1\.png"):
        read(file, strict=True)


def test_no_image_left_is_an_error(write_coco: CocoWriter) -> None:
    file = write_coco()
    (file.parent / "images/a.png").unlink()
    with pytest.raises(DataError, match="of 1 images 1 are missing"):
        read(file)


IMAGE = {"id": 1, "file_name": "a.png"}
CATEGORY = {"id": 1, "name": "cat"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ([], "expected an object .* found a list"),
        ({"images": None}, "images must be a list of objects, found nothing"),
        ({"images": []}, "images is empty"),
        ({"images": [3]}, r"images\[0\] must be an object, found a number"),
        ({"images": [IMAGE, IMAGE]}, r"images\[1\]: id 1 occurs twice"),
        ({"images": [{"id": 1}]}, "image 1: file_name must be a text, found nothing"),
        ({"images": [{"file_name": "a"}]}, r"images\[0\]: id must be an integer or a text, found nothing"),
        ({"categories": {}}, "categories must be a list of objects, found an object"),
        ({"categories": []}, "categories is empty"),
        ({"categories": [{"id": 1, "name": 3}]}, "category 1: name must be a text, found 3"),
        ({"categories": [CATEGORY, CATEGORY]}, "id 1 occurs twice in categories"),
        ({"annotations": "none"}, "annotations must be a list of objects, found a text"),
        ({"annotations": [annotation(image=None)]}, r"annotations\[0\]: image_id must be"),
        (
            {"annotations": [annotation(category=True)]},
            "category_id must be an integer or a text, found True",
        ),
        ({"annotations": [annotation([1, 2, 3])]}, r"annotations\[0\]: bbox must be four numbers"),
        ({"annotations": [annotation([1, 2, 3, "4"])]}, "bbox must be four numbers"),
        ({"annotations": [annotation([1, 2, 3, 10**400])]}, "bbox must be four numbers"),
        ({"annotations": [annotation(None)]}, "bbox must be four numbers .* found nothing"),
        ({"annotations": [annotation(iscrowd="yes")]}, "iscrowd must be 0 or 1, found 'yes'"),
        ({"annotations": [annotation(iscrowd=[1])]}, "iscrowd must be 0 or 1"),
    ],
)
def test_wrong_structures_are_one_line_with_file_and_place(
    write_coco: CocoWriter, change: dict[str, object] | list[object], message: str
) -> None:
    file = write_coco()
    content = change if isinstance(change, list) else json.loads(file.read_text()) | change
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message) as caught:
        read(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_broken_json_has_a_position(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text('{"images": [\n  {"id": 1,}\n]}')
    with pytest.raises(DataError, match="line 2, column"):
        read(tmp_path / "train.json")
