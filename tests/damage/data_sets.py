"""Damaged data sets: each is a healthy one with one thing ruined, and has a name that says which.

`damages()` lists all, in an order and with content that never change.
"""

from __future__ import annotations

import copy
import json
import math
import os
import random
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from smca.data.layouts import FORMATS, Format
from tests.damage.healthy import PICTURE, TEXTS, XML, YAML, coco_content, write, write_healthy
from tests.damage.pictures import BROKEN, broken
from tests.damage.wrong import FILE_NAMES, NUMBERS, TEXT_DAMAGES, VALUES, YAML_TEXTS, mutated

COCO_FIELDS: tuple[tuple[str | int, ...], ...] = (
    (),
    ("images",),
    ("images", 0),
    *(("images", 0, key) for key in ("id", "file_name", "width", "height")),
    ("annotations",),
    ("annotations", 0),
    *(("annotations", 0, key) for key in ("id", "image_id", "category_id", "bbox", "area", "iscrowd")),
    ("annotations", 0, "bbox", 2),
    ("categories",),
    ("categories", 0),
    *(("categories", 0, key) for key in ("id", "name")),
)
VOC_TAGS = ("filename", "width", "name", "difficult", "xmin", "ymax", "size", "bndbox", "object", "annotation")
YOLO_KEYS: tuple[tuple[str | int, ...], ...] = ((), ("train",), ("path",), ("names",), ("names", 0))
MANY = 5000


@dataclass(frozen=True)
class Damage:
    """A kind of damage: `ruin` is given the folder of a healthy data set."""

    name: str
    format: Format
    ruin: Callable[[Path], object]

    def write(self, root: Path) -> None:
        """Make the data set in a new folder."""
        write_healthy(self.format, root)
        self.ruin(root)


def damages() -> list[Damage]:
    """All of them."""
    every = (_fields, _texts, _places, _pictures, _names, _amounts)
    return [Damage(f"{format}: {name}", format, ruin) for kind in every for format, name, ruin in kind()]


Ruin = Iterator[tuple[Format, str, Callable[[Path], object]]]


def _fields() -> Ruin:
    """Every field with every value that it should not have."""
    for place in COCO_FIELDS:
        for title, value in VALUES.items():
            yield (
                "coco",
                f"{_path(place)} is {title}",
                partial(_set_json, "train.json", coco_content("train"), place, value),
            )
    for tag in VOC_TAGS:
        for title, text in {**NUMBERS, **FILE_NAMES}.items():
            yield "voc", f"<{tag}> is {title}", partial(_set_xml, tag, text)
    for place in YOLO_KEYS:
        for title, value in VALUES.items():
            yield "yolo", f"data.yaml {_path(place)} is {title}", partial(_set_json, "data.yaml", YAML, place, value)
    for column in (0, 1, 4):
        for title, text in NUMBERS.items():
            yield "yolo", f"number {column} of a label is {title}", partial(_set_label, column, text)


def _path(place: tuple[str | int, ...]) -> str:
    return ".".join(map(str, place)) or "the whole"


def _set_json(file: str, content: Any, place: tuple[str | int, ...], value: object, root: Path) -> None:
    content = copy.deepcopy(content)
    if not place:
        content = value
    else:
        holder: Any = content
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = value
    write(root / file, json.dumps(content))


def _set_xml(tag: str, text: str, root: Path) -> None:
    before, rest = XML.format(stem="a").split(f"<{tag}>", 1)
    after = rest.split(f"</{tag}>", 1)[1]
    write(root / "Annotations" / "a.xml", f"{before}<{tag}>{text}</{tag}>{after}")


def _set_label(column: int, text: str, root: Path) -> None:
    words = ["0", "0.3", "0.4", "0.4", "0.5"]
    words[column] = text
    write(root / "labels" / "train" / "a.txt", " ".join(words))


def _texts() -> Ruin:
    """Files of text cut, emptied, nested, in other encodings, and changed at random."""
    for format in FORMATS:
        for file in TEXTS[format]:
            for title, change in TEXT_DAMAGES.items():
                yield format, f"{file} {title}", partial(_change, file, change)
            for seed in range(8):
                yield (
                    format,
                    f"{file} changed at random, {seed}",
                    partial(_change, file, partial(mutated, random.Random(seed))),
                )
    for number, text in enumerate(YAML_TEXTS):
        yield "yolo", f"data.yaml with trick {number}", partial(_replace, "data.yaml", text)


def _change(file: str, change: Callable[[bytes], bytes], root: Path) -> None:
    (root / file).write_bytes(change((root / file).read_bytes()))


def _replace(file: str, content: str | bytes, root: Path) -> None:
    write(root / file, content)


def _places() -> Ruin:
    """Something else where a file is expected."""
    for format in FORMATS:
        for file in (*TEXTS[format], PICTURE[format]):
            for title, put in PLACES.items():
                yield format, f"{file} is {title}", partial(_put, file, put)
        folder = str(Path(PICTURE[format]).parent)
        for title, put in PLACES.items():
            yield format, f"{folder} is {title}", partial(_put, folder, put)
        yield format, "a folder has a link to the folder above", partial(_link_inside, folder)


def _put(name: str, put: Callable[[Path], object], root: Path) -> None:
    place = root / name
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    put(place)


def _link_inside(folder: str, root: Path) -> None:
    (root / folder / "again").symlink_to(root, target_is_directory=True)
    (root / folder / "self.png").symlink_to(root / folder / "self.png")


def _circle(place: Path) -> None:
    other = place.with_name("other.png")
    place.symlink_to(other)
    other.symlink_to(place)


def _socket(place: Path) -> None:
    here = Path.cwd()
    os.chdir(place.parent)  # a socket's path may have 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(place.name)
    finally:
        os.chdir(here)


PLACES: dict[str, Callable[[Path], object]] = {
    "missing": lambda _: None,
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a socket": _socket,
    "a link to itself": lambda place: place.symlink_to(place),
    "one of a circle of links": _circle,
    "a link to nothing": lambda place: place.symlink_to("/nowhere/at/all"),
    "a link to an endless device": lambda place: place.symlink_to("/dev/zero"),
    "a link to a text of the system": lambda place: place.symlink_to("/etc/passwd"),
}


def _pictures() -> Ruin:
    for format in FORMATS:
        for title in BROKEN:
            yield format, f"a picture is {title}", partial(_break, PICTURE[format], title)


def _break(file: str, title: str, root: Path) -> None:
    write(root / file, broken(title))


def _names() -> Ruin:
    """Names that lead elsewhere, in lists; and files that really have odd names, all that belong together alike."""
    for title, name in FILE_NAMES.items():
        yield "voc", f"a set names {title}", partial(_replace, "ImageSets/Main/train.txt", f"{name}\nb\n")
        yield "yolo", f"a list names {title}", partial(_replace, "train.txt", f"{name}\nimages/train/b.png\n")
    for title, stem in ODD_STEMS.items():
        for format in FORMATS:
            yield format, f"files called {title}", partial(_rename, format, stem)


ODD_STEMS = {
    "with a new line": b"a\nb",
    "in Latin-1": b"caf\xe9",
    "with a control sign": b"a\x1b[2Jb",
    "like an option": b"--help",
    "with spaces around": b" a ",
    "with 240 signs": b"x" * 240,
    "with markup": b"<b>&amp;</b>"[:3] + b"&",
    "with dots": b"a..b.c",
    "turned": "a\u202egpj.b".encode(),
}


def _rename(format: Format, stem: bytes, root: Path) -> None:
    name = os.fsdecode(stem)
    for file in [PICTURE[format], *(one for one in TEXTS[format] if Path(one).stem == "a")]:
        (root / file).rename((root / file).with_stem(name))
    if format == "coco":
        _set_json("train.json", coco_content("train"), ("images", 0, "file_name"), f"{name}.png", root)
    elif format == "voc":
        write(root / "ImageSets/Main/train.txt", stem + b"\nb\n")
    else:
        write(root / "data.yaml", json.dumps({**YAML, "train": "images/train"}))


def _amounts() -> Ruin:
    """Far too much of something, and the same twice."""
    yield from (("coco", name, partial(_coco_with, change)) for name, change in COCO_AMOUNTS.items())
    yield (
        "voc",
        "an annotation with 2,000 boxes",
        partial(_set_xml, "annotation", XML[12:-14].format(stem="a") * 1000),
    )
    yield (
        "voc",
        "a set with 5,000 names",
        partial(_replace, "ImageSets/Main/train.txt", "\n".join(map(str, range(MANY)))),
    )
    yield (
        "voc",
        "a set that names one picture a hundred times",
        partial(_replace, "ImageSets/Main/train.txt", "a\n" * 100),
    )
    yield (
        "yolo",
        "5,000 classes",
        partial(_replace, "data.yaml", json.dumps({**YAML, "names": list(map(str, range(MANY)))})),
    )
    yield (
        "yolo",
        "two classes of one name",
        partial(_replace, "data.yaml", json.dumps({**YAML, "names": ["cat", "cat"]})),
    )
    yield "yolo", "a polygon of 5,000 points", partial(_replace, "labels/train/a.txt", "0" + " 0.1 0.9" * MANY)
    yield "yolo", "5,000 boxes", partial(_replace, "labels/train/a.txt", "0 .5 .5 .5 .5\n" * 5000)
    yield (
        "yolo",
        "a list that names one picture a hundred times",
        partial(_replace, "train.txt", "images/train/a.png\n" * 100),
    )


def _coco_with(change: Callable[[dict[str, Any]], object], root: Path) -> None:
    content = coco_content("train")
    change(content)
    write(root / "train.json", json.dumps(content))


def _numbered(more: dict[str, Any], count: int = MANY) -> list[dict[str, Any]]:
    return [{"id": number, **more} for number in range(1000, 1000 + count)]


COCO_AMOUNTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "5,000 classes": lambda it: it["categories"].extend({"id": -i, "name": f"n{i}"} for i in range(1, MANY)),
    "300 images of one file": lambda it: it["images"].extend(_numbered({"file_name": "a.png"}, 300)),
    "10,000 images that are not there": lambda it: it["images"].extend(_numbered({"file_name": "z.png"}, 10_000)),
    "20,000 boxes of no image": lambda it: it["annotations"].extend(
        _numbered({"image_id": -1, "category_id": 1, "bbox": [0, 0, 1, 1]}, 20_000)
    ),
    "5,000 boxes of one image": lambda it: it["annotations"].extend(
        _numbered({"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9]}, 5000)
    ),
    "an image twice": lambda it: it["images"].append(it["images"][0]),
    "a class twice": lambda it: it["categories"].append(it["categories"][0]),
    "two classes of one name": lambda it: it["categories"].append({"id": 9, "name": "cat"}),
    "a box twice": lambda it: it["annotations"].append(it["annotations"][0]),
    "no images": lambda it: it["images"].clear(),
    "no classes": lambda it: it["categories"].clear(),
    "no boxes": lambda it: it["annotations"].clear(),
    "ids as texts": lambda it: [one.update(id=str(one["id"])) for one in it["images"]],
    "ids as texts throughout": lambda it: (
        [one.update(id=str(one["id"])) for one in it["images"]],
        [one.update(image_id=str(one["image_id"])) for one in it["annotations"]],
    ),
    "boxes of every wrong kind": lambda it: it["annotations"].extend(
        {"id": -i, "image_id": 1, "category_id": 1, "bbox": box}
        for i, box in enumerate(
            [
                [math.nan, 0, 1, 1],
                [0, 0, math.inf, 1],
                [-1e308, -1e308, 1e308, 1e308],
                [1, 1, -5, -5],
                [1, 1, 0, 0],
                [1e9, 1e9, 5, 5],
                [0, 0, 1e-30, 1e-30],
                [-100, -100, 500, 500],
            ],
            1,
        )
    ),
}
