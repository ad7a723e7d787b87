"""A data set from a folder or file, its layout recognised by itself.

    annotations/instances_{train,val}2017.json with train2017/, val2017/     COCO's own layout
    train.json, val.json                       with images beside or in images/
    train/_annotations.coco.json, valid/       with images beside them       Roboflow's layout
    one .json file                             with images beside or in images/

Labels mean the same in train and val: val is matched to train by class name. Raises DataError where nothing
is recognised, a split is missing, or class names differ; ConfigurationError for a wrong `val_fraction`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from smca.data.coco import read_coco
from smca.data.records import Findings, Split
from smca.errors import ConfigurationError, DataError, nearest


@dataclass(frozen=True)
class DataSet:
    """Train and, where there is one, val, with the same classes."""

    train: Split
    val: Split | None


@dataclass(frozen=True)
class Source:
    """A split on disk, recognised but not read."""

    annotations: Path
    image_folders: tuple[Path, ...]

    def read(self, name: str, strict: bool) -> Split:
        """Read the annotations and look for the images."""
        return read_coco(self.annotations, self.image_folders, name, strict)


def read_data(
    data: Path | str,
    *,
    strict: bool = False,
    val_fraction: float = 0.0,
    seed: int = 0,
    need_val: bool = True,
) -> DataSet:
    """Read train and val. `val_fraction` in 0..1 takes that part of train, chosen by `seed`, where there is
    no val.
    """
    data = Path(data)
    if not 0 <= val_fraction < 1:
        raise ConfigurationError(f"--val-fraction is {val_fraction:g}, allowed is 0 up to, not including, 1")
    has_val = data.is_dir() and _find(data, "val") is not None
    if has_val and val_fraction:
        raise ConfigurationError(f"{data} has a val split of its own: leave out --val-fraction")
    if need_val and not has_val and not val_fraction and _source(data, "train"):
        raise DataError(f"{data} has no val split: make one with --val-fraction 0.2")
    train = read_split(data, "train", strict=strict)
    if has_val:
        val = read_split(data, "val", strict=strict)
        return DataSet(train, val.aligned(train.class_names, train.category_ids))
    return _held_back(train, val_fraction, seed) if val_fraction else DataSet(train, None)


def read_split(data: Path | str, split: str, *, strict: bool = False) -> Split:
    """Read one split by name ("train", "val", "test"); a single .json file answers to every name."""
    return _source(Path(data), split).read(split, strict)


def _held_back(train: Split, fraction: float, seed: int) -> DataSet:
    count = len(train.records)
    if count < 2:
        raise DataError(f"{train.name} has {count} image: too few to hold some back with --val-fraction")
    held_back = min(max(1, round(count * fraction)), count - 1)
    chosen = set(np.random.default_rng(seed).permutation(count)[:held_back].tolist())
    rest = [record for index, record in enumerate(train.records) if index not in chosen]
    val = [train.records[index] for index in sorted(chosen)]
    return DataSet(replace(train, records=rest), replace(train, name="val", records=val, findings=Findings()))


def _source(data: Path, split: str) -> Source:
    if not data.exists():
        beside = [path.name for path in data.parent.iterdir()] if data.parent.is_dir() else []
        raise DataError(f"no data at {data}: no such file or folder.{nearest(data.name, beside)}")
    if data.is_file():
        return _single_file(data)
    source = _find(data, split)
    if source is not None:
        return source
    others = [name for name in ("train", "val", "test") if _find(data, name)]
    if others:
        raise DataError(f"{data} has no {split} split, only {' and '.join(others)}")
    content = ", ".join(sorted(path.name for path in data.iterdir())[:8]) or "nothing (it is empty)"
    raise DataError(
        f"no data set recognised in {data}: looked for annotations/instances_{split}2017.json, {split}.json, "
        f"{split}/_annotations.coco.json; found {content}"
    )


def _single_file(file: Path) -> Source:
    if file.suffix.lower() != ".json":
        raise DataError(f"{file} is not a data set: a folder or a COCO .json file is needed")
    return Source(file, _folders_near(file.parent, file.stem.removeprefix("instances_")))


def _find(root: Path, split: str) -> Source | None:
    return next((source for layout in _LAYOUTS if (source := layout(root, split))), None)


def _official(root: Path, split: str) -> Source | None:
    for name in (f"{split}2017", f"{split}2014", split):
        file = root / "annotations" / f"instances_{name}.json"
        if file.is_file():
            return Source(file, _folders_near(root, name))
    return None


def _plain(root: Path, split: str) -> Source | None:
    for file in (root / f"{split}.json", root / "annotations" / f"{split}.json"):
        if file.is_file():
            return Source(file, _folders_near(root, split))
    return None


def _roboflow(root: Path, split: str) -> Source | None:
    for name in (split, "valid") if split == "val" else (split,):
        file = root / name / "_annotations.coco.json"
        if file.is_file():
            return Source(file, (file.parent,))
    return None


def _folders_near(root: Path, name: str) -> tuple[Path, ...]:
    """Where images named in an annotation file may lie; the parent serves files inside `annotations/`."""
    roots = (root, root.parent) if root.name == "annotations" else (root,)
    inside = (f"images/{name}", name, "images", "")
    folders = (base / part for base in roots for part in inside)
    return tuple(folder for folder in folders if folder.is_dir())


_LAYOUTS: tuple[Callable[[Path, str], Source | None], ...] = (_official, _plain, _roboflow)
