"""A data set of one format written in another: what `smca data convert` does. Pictures are copied byte by byte.

    coco  train.json, val.json, images/train/, images/val/; ids of images and classes stay where they are whole numbers
    voc   Annotations/, JPEGImages/, ImageSets/Main/train.txt; crowd regions become `difficult` objects, and back
    yolo  data.yaml, images/train/, labels/train/; classes are counted from 0, crowd regions are left out and counted

Boxes survive any chain of conversions to .001 pixels. Raises DataError for the source and OutputError for the target.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import yaml

from smca.data.images import IMAGE_SUFFIXES
from smca.data.layouts import Format
from smca.data.reading import read_splits
from smca.data.records import Record, Split
from smca.errors import DataError, OutputError
from smca.files import claim_folder, write_atomically, write_json

Step = Callable[[int, int], object]
LONGEST_STEM = 100
NO_NAME = re.compile(r"[^\w .,+()\[\]@#=-]|^[\s.-]+|[\s.]+$")


def convert(
    data: Path, out: Path, to: Format, format: Format | None = None, strict: bool = False, step: Step | None = None
) -> list[str]:
    """Write every split of `data` to `out`; returns a line for each split, and for all that was skipped or changed."""
    return write_splits(read_splits(data, strict=strict, format=format), out, to, step)


def write_splits(splits: Sequence[Split], out: Path, to: Format, step: Step | None = None) -> list[str]:
    """The same of splits with the same classes."""
    if to == "voc" and not any(len(record.labels) for split in splits for record in split.records):
        raise DataError("there is no box in any image, and VOC has no other place for the names of classes")
    claim_folder(out)
    total, done, lines, taken = sum(len(split.records) for split in splits), 0, [], set[str]()
    for split in splits:
        folder = out / ("JPEGImages" if to == "voc" else f"images/{split.name}")
        files: list[str] = []
        for record in split.records:
            files.append(_copied(record.path, folder, taken))
            done += 1
            if step is not None:
                step(done, total)
        if to != "voc":
            taken.clear()
        lines += [_WRITERS[to](split, files, out), *split.findings.lines()]
    if to == "yolo":
        _write_yaml(splits, out)
    return lines


def _copied(image: Path, folder: Path, taken: set[str]) -> str:
    """The name of the copy: the picture's own, as any list and system can hold it, with a number where it is taken."""
    own = NO_NAME.sub("_", image.stem[:LONGEST_STEM])
    suffix = image.suffix if image.suffix.lower() in IMAGE_SUFFIXES else ".jpg"  # a reader of folders goes by it
    stem, count = own, 1
    while stem.lower() in taken:
        count += 1
        stem = f"{own}-{count}"
    taken.add(stem.lower())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, folder / f"{stem}{suffix}")
    except OSError as error:
        raise OutputError(f"cannot copy {image} to {folder}: {error.strerror or error}") from error
    return f"{stem}{suffix}"


def _write_coco(split: Split, files: Sequence[str], out: Path) -> str:
    whole = all(isinstance(record.image_id, int) for record in split.records)
    ids = [record.image_id if whole else index for index, record in enumerate(split.records, 1)]
    numbered = all(isinstance(identifier, int) for identifier in split.category_ids)
    classes = split.category_ids if numbered else tuple(range(1, len(split.class_names) + 1))
    images = [
        {"id": image, "file_name": file, "width": record.size.width, "height": record.size.height}
        for image, file, record in zip(ids, files, split.records, strict=True)
    ]
    boxes = [
        {"image_id": image, "category_id": classes[label], "bbox": box, "area": area, "iscrowd": int(crowd)}
        for image, record in zip(ids, split.records, strict=True)
        for box, label, area, crowd in zip(
            _widths(record), record.labels, record.areas.tolist(), record.crowd, strict=True
        )
    ]
    write_json(
        out / f"{split.name}.json",
        {
            "images": images,
            "annotations": [{"id": index, **box} for index, box in enumerate(boxes, 1)],
            "categories": [{"id": one, "name": name} for one, name in zip(classes, split.class_names, strict=True)],
        },
    )
    return _line(split)


def _widths(record: Record) -> list[list[float]]:
    corners = record.boxes.astype(float)
    return [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in corners.tolist()]


def _write_voc(split: Split, files: Sequence[str], out: Path) -> str:
    for file, record in zip(files, split.records, strict=True):
        tree = _annotation(file, record, split.class_names)
        write_atomically(out / "Annotations" / f"{Path(file).stem}.xml", tostring(tree, encoding="unicode") + "\n")
    names = "".join(f"{Path(file).stem}\n" for file in files)
    write_atomically(out / "ImageSets" / "Main" / f"{split.name}.txt", names)
    return _line(split)


def _annotation(file: str, record: Record, names: Sequence[str]) -> Element:
    tree = Element("annotation")
    SubElement(tree, "filename").text = file
    size = SubElement(tree, "size")
    for key, value in (("width", record.size.width), ("height", record.size.height), ("depth", 3)):
        SubElement(size, key).text = str(value)
    for box, label, crowd in zip(record.boxes.tolist(), record.labels, record.crowd, strict=True):
        item = SubElement(tree, "object")
        SubElement(item, "name").text = names[label]
        SubElement(item, "difficult").text = str(int(crowd))
        corners = SubElement(item, "bndbox")
        for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
            SubElement(corners, side).text = f"{value:.9g}"
    indent(tree)
    return tree


def _write_yolo(split: Split, files: Sequence[str], out: Path) -> str:
    for file, record in zip(files, split.records, strict=True):
        lines = "".join(f"{line}\n" for line in _label_lines(record))
        write_atomically(out / "labels" / split.name / f"{Path(file).stem}.txt", lines)
    crowds = sum(int(record.crowd.sum()) for record in split.records)
    return _line(split) + (f"; {crowds} of them crowd regions, left out" if crowds else "")


def _label_lines(record: Record) -> Iterator[str]:
    boxes, labels = record.trainable
    width, height = record.size.width, record.size.height
    for (x1, y1, x2, y2), label in zip(boxes.tolist(), labels, strict=True):
        centre, size = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height), ((x2 - x1) / width, (y2 - y1) / height)
        yield " ".join([str(label), *(f"{value:.9g}" for value in (*centre, *size))])


def _write_yaml(splits: Sequence[Split], out: Path) -> None:
    content = {split.name: f"images/{split.name}" for split in splits}
    names = dict(enumerate(splits[0].class_names))
    write_atomically(
        out / "data.yaml", yaml.safe_dump({**content, "names": names}, sort_keys=False, allow_unicode=True)
    )


def _line(split: Split) -> str:
    boxes = sum(len(record.labels) for record in split.records)
    return f"{split.name}: {len(split.records)} images, {boxes} boxes"


_WRITERS = {"coco": _write_coco, "voc": _write_voc, "yolo": _write_yolo}
