"""VOC and YOLO: read from small folders and from the samples, and through every chain of conversions."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from smca.data.conversion import convert
from smca.data.layouts import FORMATS, Format
from smca.data.reading import read_data, read_split
from smca.data.records import Split
from smca.data.yolo import label_file
from smca.errors import DataError, OutputError
from tests.data.conftest import CocoWriter, annotation

VOC = (
    """<annotation><filename>{file}</filename><size><width>64</width><height>48</height></size>{objects}</annotation>"""
)
OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{box[0]}</xmin>
<ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"""


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48), "gray").save(path)


def voc_object(name: str = "cat", box: tuple[object, ...] = (1, 2, 11, 22), difficult: int = 0) -> str:
    return OBJECT.format(name=name, box=box, difficult=difficult)


def write_voc(root: Path, stem: str, *objects: str, file: str | None = None) -> Path:
    picture(root / "JPEGImages" / f"{stem}.png")
    path = root / "Annotations" / f"{stem}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(VOC.format(file=file or f"{stem}.png", objects="".join(objects)))
    return path


def write_set(root: Path, name: str, *stems: str) -> None:
    file = root / "ImageSets" / "Main" / f"{name}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{stem}\n" for stem in stems))


def write_yolo(root: Path, lines: str | None, content: str = "train: images/train\nnames: [cat, dog]\n") -> Path:
    picture(root / "images" / "train" / "a.png")
    (root / "data.yaml").write_text(content)
    if lines is not None:
        file = root / "labels" / "train" / "a.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(lines)
    return root


def counts(*splits: Split) -> dict[str, int]:
    return dict(Counter(s.class_names[label] for s in splits for record in s.records for label in record.labels))


@pytest.mark.parametrize("sample", ["voc_sample", "yolo_sample"])
def test_samples_hold_what_is_expected(shared: Path, sample: str) -> None:
    folder = shared / "data" / "formats" / sample
    expected = json.loads((folder / "expected.json").read_text())
    data = read_data(folder)
    assert data.val is not None
    splits = (data.train, data.val)
    assert sum(len(split.records) for split in splits) == expected["images"]
    assert counts(*splits) == expected["boxes"]
    dropped = sum(len(split.findings.dropped_boxes) for split in splits)
    assert dropped == expected.get("degenerate_boxes_to_drop", 0)
    empty = [record.path.name for split in splits for record in split.records if not len(record.labels)]
    assert empty == expected.get("images_without_label_file", [])


def test_voc(tmp_path: Path) -> None:
    write_voc(tmp_path, "a", voc_object("dog", (1.5, 2, 11, 22)), voc_object(difficult=1))
    write_voc(tmp_path, "b", voc_object("cat"), file="C:\\elsewhere\\wrong.jpg")
    write_voc(tmp_path, "c", voc_object("emu"))
    write_set(tmp_path, "trainval", "a", "b 1")
    split = read_split(tmp_path, "train")
    assert split.class_names == ("cat", "dog", "emu")
    first, second = split.records
    assert first.boxes.tolist() == [[1.5, 2, 11, 22], [1, 2, 11, 22]]
    assert (first.labels.tolist(), first.crowd.tolist()) == ([1, 0], [False, True])
    assert (second.image_id, second.path.name) == ("b", "b.png")


def test_voc_without_sets_is_all_train(tmp_path: Path) -> None:
    write_voc(tmp_path, "a", voc_object())
    write_voc(tmp_path, "b")
    assert [record.image_id for record in read_split(tmp_path, "train").records] == ["a", "b"]
    with pytest.raises(DataError, match="no val split: make one with --val-fraction"):
        read_data(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><object>", "cannot be read as XML"),
        ("<note/>", "expected an <annotation>, found <note>"),
        (VOC.format(file="a.png", objects=voc_object("")), "a: <name> must be a text"),
        (
            VOC.format(file="a.png", objects=voc_object(box=("x", 1, 2, 3))),
            "a object 1: <bndbox/xmin> must be a number",
        ),
        (VOC.format(file="a.png", objects=""), "no object in any file"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "cannot be read as XML"),
    ],
)
def test_voc_that_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    write_voc(tmp_path, "a").write_text(text)
    with pytest.raises(DataError, match=message):
        read_split(tmp_path, "train")


def test_voc_names_an_annotation_that_is_not_there(tmp_path: Path) -> None:
    write_voc(tmp_path, "a", voc_object())
    write_set(tmp_path, "train", "a", "b")
    with pytest.raises(DataError, match=r"no Annotations/b\.xml"):
        read_split(tmp_path, "train")


def test_yolo(tmp_path: Path) -> None:
    write_yolo(tmp_path, "1 .5 .5 .25 .5\n\n0 0 0 .5 0 .5 .5\n7 .5 .5 .1 .1\n")
    split = read_split(tmp_path / "data.yaml", "train")
    assert split.class_names == ("cat", "dog")
    assert split.records[0].boxes.tolist() == [[24, 12, 40, 36], [0, 0, 32, 24]]
    assert split.records[0].labels.tolist() == [1, 0]
    assert split.findings.unknown_categories == ["a.txt line 4: category 7"]


def test_yolo_image_without_labels_is_empty(tmp_path: Path) -> None:
    assert len(read_split(write_yolo(tmp_path, None), "train").records[0].labels) == 0


@pytest.mark.parametrize(
    "content",
    [
        "path: ../elsewhere\ntrain: images/train\nnames: {0: cat}\n",
        "path: .\ntrain: ../images/train\nnames: {0: cat}\n",
        "train: [images]\nnames: {0: cat}\n",
        "train: list.txt\nnames: {0: cat}\n",
    ],
)
def test_yolo_finds_its_images(tmp_path: Path, content: str) -> None:
    root = write_yolo(tmp_path / "data", "0 .5 .5 .5 .5\n", content)
    (root / "list.txt").write_text("./images/train/a.png\n")
    assert len(read_split(root, "train").records[0].labels) == 1


@pytest.mark.parametrize(
    ("lines", "content", "message"),
    [
        ("0 .5 .5 .5\n", None, r"a.txt line 1: expected .* found 4 numbers"),
        ("0 .5 .5 .5 x\n", None, "a.txt line 1: expected numbers"),
        ("0 32 24 10 10\n", None, "must be relative to the image, in 0..1, found 32"),
        ("", "train: images/train\n", "names must be a list"),
        ("", "train: 5\nnames: [cat]\n", "train must be a folder"),
        ("", "train: nowhere\nnames: [cat]\n", "no folder or .txt file at nowhere"),
        ("", "train: [\n", "cannot be read as YAML"),
        ("", "cat\n", "expected train, val and names"),
    ],
)
def test_yolo_that_is_wrong(tmp_path: Path, lines: str, content: str | None, message: str) -> None:
    write_yolo(tmp_path, lines, *([content] if content else []))
    with pytest.raises(DataError, match=message):
        read_split(tmp_path, "train")


def test_labels_lie_where_the_last_images_was() -> None:
    assert label_file(Path("/images/x/images/train/a.jpg")) == Path("/images/x/labels/train/a.txt")
    assert label_file(Path("/pictures/a.b.jpg")) == Path("/pictures/a.b.txt")


def test_a_format_can_be_asked_for(write_coco: CocoWriter, tmp_path: Path) -> None:
    write_coco(annotations=[annotation()])
    write_yolo(tmp_path, "1 .5 .5 .25 .5\n")
    assert read_split(tmp_path, "train").class_names == ("cat",)
    assert read_split(tmp_path, "train", format="yolo").class_names == ("cat", "dog")
    with pytest.raises(DataError, match="no VOC data set recognised"):
        read_split(tmp_path, "train", format="voc")


def test_formats_are_not_mixed(write_coco: CocoWriter, tmp_path: Path) -> None:
    """What another format says of a split that this one lacks is not asked for, broken or not."""
    write_coco(annotations=[annotation()])
    write_yolo(tmp_path, "", "train: images/train\nval: images/train\nnames: [cat]\n")
    with pytest.raises(DataError, match="no val split"):
        read_data(tmp_path)
    (tmp_path / "data.yaml").write_text("train: [")
    assert len(read_data(tmp_path, need_val=False).train.records) == 1


BOX = st.tuples(*[st.floats(0, 24)] * 2, *[st.floats(0.5, 24)] * 2)


@settings(deadline=None, max_examples=10)
@given(boxes=st.lists(BOX, max_size=4), chain=st.permutations(FORMATS))
def test_boxes_survive_any_chain(
    tmp_path_factory: pytest.TempPathFactory, boxes: list[tuple[float, ...]], chain: list[Format]
) -> None:
    root = tmp_path_factory.mktemp("chain")
    picture(root / "start" / "a b.png")
    annotations = [
        {"id": i, "image_id": 5, "category_id": 3, "bbox": box} for i, box in enumerate([(1, 1, 9, 9), *boxes])
    ]
    content = {
        "images": [{"id": 5, "file_name": "a b.png"}],
        "categories": [{"id": 3, "name": "é & <b>"}, {"id": 9, "name": "never"}],
    }
    (root / "start" / "train.json").write_text(json.dumps({**content, "annotations": annotations}))
    start = place = root / "start"
    for number, step in enumerate((*chain, "coco")):
        convert(place, place := root / str(number), step)
    before, after = read_split(start, "train"), read_split(place, "train")
    np.testing.assert_allclose(after.records[0].boxes, before.records[0].boxes, atol=1e-3)
    assert counts(after) == counts(before)
    assert after.records[0].path.read_bytes() == before.records[0].path.read_bytes()


def test_crowd_is_difficult_and_back(write_coco: CocoWriter, tmp_path: Path) -> None:
    write_coco(annotations=[annotation(), annotation(iscrowd=1)])
    convert(tmp_path, tmp_path / "voc", "voc")
    convert(tmp_path / "voc", tmp_path / "coco", "coco")
    assert read_split(tmp_path / "coco", "train").records[0].crowd.tolist() == [False, True]
    lines = convert(tmp_path / "coco", tmp_path / "yolo", "yolo")
    assert lines == ["train: 1 images, 2 boxes; 1 of them crowd regions, left out"]


def test_ids_with_gaps_stay_in_coco(write_coco: CocoWriter, tmp_path: Path) -> None:
    images = [{"id": 70, "file_name": "a.png"}, {"id": 3, "file_name": "b.png"}]
    categories = [{"id": 2, "name": "cat"}, {"id": 90, "name": "dog"}]
    write_coco(images=images, categories=categories, annotations=[annotation(image=3, category=90, area=12.5)])
    convert(tmp_path / "train.json", tmp_path / "out", "coco")
    split = read_split(tmp_path / "out", "train")
    assert ([record.image_id for record in split.records], split.category_ids) == ([70, 3], (2, 90))
    assert split.records[1].areas.tolist() == [12.5]


@pytest.mark.parametrize("to", FORMATS)
def test_pictures_of_one_name_are_all_kept(write_coco: CocoWriter, tmp_path: Path, to: Format) -> None:
    images = [{"id": i, "file_name": name} for i, name in enumerate(["x/a.png", "y/a.png", "A.png"])]
    write_coco(images=images, annotations=[annotation(image=1)])
    write_coco("val.json", images=[{"id": 1, "file_name": "z/a.png"}])
    convert(tmp_path, tmp_path / "out", to)
    data = read_data(tmp_path / "out")
    assert data.val is not None
    paths = [record.path for split in (data.train, data.val) for record in split.records]
    assert len({str(path).lower() for path in paths}) == 4
    assert sorted(len(record.labels) for record in data.train.records) == [0, 0, 1]


@pytest.mark.parametrize("to", FORMATS)
def test_copies_have_names_that_every_list_can_hold(write_coco: CocoWriter, tmp_path: Path, to: Format) -> None:
    names = ["a\nb.png", " c .png", "--d.png", os.fsdecode(b"caf\xe9.png"), "x" * 250 + ".png", "größe (1).png"]
    write_coco(images=[{"id": i, "file_name": name} for i, name in enumerate(names)], annotations=[annotation()])
    (tmp_path / "images" / "e").write_bytes((tmp_path / "images" / names[0]).read_bytes())
    content = json.loads((tmp_path / "train.json").read_text())
    content["images"].append({"id": 9, "file_name": "e"})
    (tmp_path / "train.json").write_text(json.dumps(content))
    convert(tmp_path, tmp_path / "out", to)
    found = sorted(record.path.name for record in read_split(tmp_path / "out", "train").records)
    assert found == sorted(["_d.png", "_c_.png", "a_b.png", "caf_.png", "e.jpg", "größe (1).png", "x" * 100 + ".png"])


def test_voc_needs_a_box_for_the_names_of_its_classes(write_coco: CocoWriter, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no box in any image"):
        convert(write_coco(), tmp_path / "out", "voc")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["/", "..", "../.."])
def test_yolo_does_not_look_through_all_that_is_above(tmp_path: Path, place: str) -> None:
    write_yolo(tmp_path / "a" / "b", None, f"train: {place}\nnames: [cat]\n")
    with pytest.raises(DataError, match=r"which is above data\.yaml"):
        read_split(tmp_path / "a" / "b", "train")


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x1b[2J", "\ud800"])
def test_classes_have_names_that_can_be_shown(write_coco: CocoWriter, name: str) -> None:
    with pytest.raises(DataError, match=r"allowed: a text of printable|name must be a text"):
        read_split(write_coco(categories=[{"id": 1, "name": name}]), "train")


def test_an_output_folder_in_use_is_refused(write_coco: CocoWriter, tmp_path: Path) -> None:
    write_coco()
    with pytest.raises(OutputError, match="in use"):
        convert(tmp_path, tmp_path / "images", "yolo")


@pytest.mark.parametrize(("of", "to"), [("voc", "yolo"), ("yolo", "voc")])
def test_samples_convert(shared: Path, tmp_path: Path, of: str, to: Format) -> None:
    sample = shared / "data" / "formats" / f"{of}_sample"
    convert(sample, tmp_path / "out", to)
    before, after = read_data(sample), read_data(tmp_path / "out")
    assert before.val is not None
    assert after.val is not None
    assert counts(after.train, after.val) == counts(before.train, before.val)
