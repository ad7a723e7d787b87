"""Which files make a split: the layouts that are recognised, by format.

    coco  annotations/instances_{train,val}2017.json with train2017/, val2017/   COCO's own layout
          train.json, val.json                       with images beside or in images/
          train/_annotations.coco.json, valid/       with images beside them     Roboflow's layout
          one .json file                             with images beside or in images/
    voc   Annotations/*.xml, JPEGImages/, ImageSets/Main/{train,val}.txt         (voc.py)
    yolo  data.yaml, or that file itself                                         (yolo.py)

Raises DataError where nothing is recognised or a split is missing; ConfigurationError for an unknown format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from smca.data.coco import read_coco
from smca.data.records import Split
from smca.data.voc import find_voc
from smca.data.yolo import find_yolo
from smca.errors import DataError, nearest

Format = Literal["coco", "voc", "yolo"]
SPLITS = ("train", "val", "test")


class Source(Protocol):
    """A split on disk, recognised but not read."""

    def read(self, name: str, strict: bool) -> Split:
        """Read the annotations and look for the images; `strict` raises for lost images."""
        ...


Layout = Callable[[Path, str], Source | None]


@dataclass(frozen=True)
class CocoSource:
    """An annotation file, and where its images may lie."""

    annotations: Path
    image_folders: tuple[Path, ...]

    def read(self, name: str, strict: bool) -> Split:
        """Read the file and look for the images."""
        return read_coco(self.annotations, self.image_folders, name, strict)


def source(data: Path, split: str, format: Format | None = None) -> Source:
    """The split's source; DataError says what was found instead."""
    if not data.exists():
        beside = [path.name for path in data.parent.iterdir()] if data.parent.is_dir() else []
        raise DataError(f"no data at {data}: no such file or folder.{nearest(data.name, beside)}")
    found = find(data, split, format)
    if found is not None:
        return found
    others = [name for name in SPLITS if find(data, name, format)]
    if others:
        raise DataError(f"{data} has no {split} split, only {' and '.join(others)}")
    if data.is_file():
        raise DataError(f"{data} is not a data set: a folder, a COCO .json or a YOLO .yaml file is needed")
    content = ", ".join(sorted(path.name for path in data.iterdir())[:8]) or "nothing (it is empty)"
    raise DataError(
        f"no {format.upper() + ' ' if format else ''}data set recognised in {data}: looked for "
        f"annotations/instances_{split}2017.json, {split}.json, {split}/_annotations.coco.json (COCO), "
        f"Annotations/*.xml (VOC), data.yaml (YOLO); found {content}"
    )


def splits_of(data: Path, format: Format | None = None) -> tuple[str, ...]:
    """The names of all splits; a single .json file is "train"."""
    one_file = data.is_file() and data.suffix.lower() == ".json"
    return SPLITS[:1] if one_file else tuple(name for name in SPLITS if find(data, name, format))


def find(data: Path, split: str, format: Format | None = None) -> Source | None:
    """The first layout that fits; without a `format` of the first one that has any split here."""
    known = format or next((one for one in FORMATS if any(_found(data, split, one) for split in SPLITS)), None)
    return _found(data, split, known) if known else None


def _found(data: Path, split: str, format: Format) -> Source | None:
    return next((found for layout in _LAYOUTS[format] if (found := layout(data, split))), None)


def _single_file(data: Path, _: str) -> Source | None:
    """A .json file answers to every split."""
    if not data.is_file() or data.suffix.lower() != ".json":
        return None
    return CocoSource(data, _folders_near(data.parent, data.stem.removeprefix("instances_")))


def _official(root: Path, split: str) -> Source | None:
    for name in (f"{split}2017", f"{split}2014", split):
        file = root / "annotations" / f"instances_{name}.json"
        if file.is_file():
            return CocoSource(file, _folders_near(root, name))
    return None


def _plain(root: Path, split: str) -> Source | None:
    for file in (root / f"{split}.json", root / "annotations" / f"{split}.json"):
        if file.is_file():
            return CocoSource(file, _folders_near(root, split))
    return None


def _roboflow(root: Path, split: str) -> Source | None:
    for name in (split, "valid") if split == "val" else (split,):
        file = root / name / "_annotations.coco.json"
        if file.is_file():
            return CocoSource(file, (file.parent,))
    return None


def _folders_near(root: Path, name: str) -> tuple[Path, ...]:
    """Where images named in an annotation file may lie; the parent serves files inside `annotations/`."""
    roots = (root, root.parent) if root.name == "annotations" else (root,)
    inside = (f"images/{name}", name, "images", "")
    folders = (base / part for base in roots for part in inside)
    return tuple(folder for folder in folders if folder.is_dir())


_LAYOUTS: dict[Format, tuple[Layout, ...]] = {
    "coco": (_single_file, _official, _plain, _roboflow),
    "voc": (find_voc,),
    "yolo": (find_yolo,),
}
FORMATS: tuple[Format, ...] = tuple(_LAYOUTS)
