"""Small data sets with nothing wrong, one in each format, to be damaged: three pictures for train, two for val.

Every picture has one box of each of two classes. No two pictures look alike.
"""

from __future__ import annotations

import functools
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from smca.data.layouts import Format

NAMES = ("cat", "dog")
STEMS = {"train": ("a", "b", "c"), "val": ("d", "e")}
WIDTH, HEIGHT = 40, 30

# The files whose text can be damaged, and the picture, of each format.
TEXTS: dict[Format, tuple[str, ...]] = {
    "coco": ("train.json",),
    "voc": ("Annotations/a.xml", "ImageSets/Main/train.txt"),
    "yolo": ("data.yaml", "labels/train/a.txt", "train.txt"),
}
PICTURE: dict[Format, str] = {"coco": "images/train/a.png", "voc": "JPEGImages/a.png", "yolo": "images/train/a.png"}
XML = """<annotation><filename>{stem}.png</filename><size><width>40</width><height>30</height></size>
<object><name>cat</name><difficult>0</difficult>
<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>20</xmax><ymax>22</ymax></bndbox></object>
<object><name>dog</name><difficult>0</difficult>
<bndbox><xmin>21</xmin><ymin>5</ymin><xmax>39</xmax><ymax>29</ymax></bndbox></object></annotation>
"""
LABELS = "0 0.3 0.4 0.4 0.5\n1 0.75 0.6 0.4 0.7\n"
YAML = {"train": "train.txt", "val": "images/val", "names": list(NAMES)}


@functools.cache
def picture(seed: int, kind: str = "PNG") -> bytes:
    """Noise in large cells, so that each picture is another."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(cells).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST).save(stream, kind)
    return stream.getvalue()


def write_healthy(format: Format, root: Path) -> None:
    """Write the data set of that format into a new folder."""
    {"coco": _write_coco, "voc": _write_voc, "yolo": _write_yolo}[format](root)


def write(file: Path, content: bytes | str) -> None:
    """Write a file and the folders above it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)


def coco_content(split: str) -> dict[str, Any]:
    """What a healthy file of annotations says."""
    stems = STEMS[split]
    images = [{"id": i, "file_name": f"{s}.png", "width": WIDTH, "height": HEIGHT} for i, s in enumerate(stems, 1)]
    boxes = [(1, [2, 3, 18, 19]), (2, [21, 5, 18, 24])]
    annotations = [
        {"id": 10 * i + c, "image_id": i, "category_id": c, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for i, _ in enumerate(stems, 1)
        for c, box in boxes
    ]
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(NAMES, 1)],
    }


def _write_coco(root: Path) -> None:
    for split, seed, stem in _pictures():
        write(root / "images" / split / f"{stem}.png", picture(seed))
    for split in STEMS:
        write(root / f"{split}.json", json.dumps(coco_content(split)))


def _write_voc(root: Path) -> None:
    for _, seed, stem in _pictures():
        write(root / "JPEGImages" / f"{stem}.png", picture(seed))
        write(root / "Annotations" / f"{stem}.xml", XML.format(stem=stem))
    for split, stems in STEMS.items():
        write(root / "ImageSets" / "Main" / f"{split}.txt", "".join(f"{stem}\n" for stem in stems))


def _write_yolo(root: Path) -> None:
    for split, seed, stem in _pictures():
        write(root / "images" / split / f"{stem}.png", picture(seed))
        write(root / "labels" / split / f"{stem}.txt", LABELS)
    write(root / "train.txt", "".join(f"images/train/{stem}.png\n" for stem in STEMS["train"]))
    write(root / "data.yaml", json.dumps(YAML))


def _pictures() -> list[tuple[str, int, str]]:
    """Split, a seed of its own, and stem of each."""
    stems = [(split, stem) for split in STEMS for stem in STEMS[split]]
    return [(split, seed, stem) for seed, (split, stem) in enumerate(stems)]
