"""The YOLO format: data.yaml and a text file for each image -> `Split`.

    data.yaml    path, train, val, test: folders of images, or .txt files that list them; names: by index
    labels/...   where the image's path has images/...: a line "class cx cy w h" for each box, relative to the image

A line with more numbers is a polygon, whose bounds are the box. An image without a label file has no objects. Classes
are all of `names`. Raises DataError, one line naming file and line, for what cannot be read.
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from smca.data.building import RawBox, build_record, check_lost, find_image
from smca.data.images import IMAGE_SUFFIXES, ImageHeader
from smca.data.records import Findings, Record, Split
from smca.errors import DataError
from smca.files import is_file, is_folder
from smca.sizes import ImageSize

KEYS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


@dataclass(frozen=True)
class YoloSource:
    """A data.yaml, what stands in it, and the places of one split's images."""

    file: Path
    names: dict[int, str]
    places: tuple[str, ...]
    base: str

    def read(self, name: str, strict: bool) -> Split:
        """List the images and read their label files."""
        findings = Findings()
        images = sorted({image for place in self.places for image in self._images(place)})
        if not images:
            raise DataError(f"{self.file}: no images in {', '.join(self.places)}")
        indices = sorted(self.names)
        records = [self._record(image, indices, findings) for image in images]
        check_lost(findings, len(images), strict)
        found = [record for record in records if record is not None]
        return Split(name, found, tuple(self.names[index] for index in indices), tuple(indices), findings)

    def _images(self, place: str) -> Iterator[Path]:
        path = self._found(place)
        if path.is_dir():
            try:
                yield from [file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES]
            except OSError as error:
                raise DataError(f"{self.file}: cannot look through {path}: {error.strerror or error}") from error
        else:
            for _, line in _lines(path):
                yield path.parent / line if is_file(path.parent / line) else self.file.parent / self.base / line

    def _found(self, place: str) -> Path:
        """As written from data.yaml's folder and its `path`, or from there without the "../" that Roboflow adds."""
        root, inside = self.file.parent, place.replace("\\", "/")
        while inside.startswith("../"):
            inside = inside[3:]
        candidates = [root / self.base / place, root / place, root / inside]
        for candidate in candidates:
            if is_file(candidate) and candidate.suffix == ".txt":
                return candidate
            if is_folder(candidate):
                return self._inside(candidate)
        raise DataError(f"{self.file}: no folder or .txt file at {place}, looked in {candidates[0]}")

    def _inside(self, folder: Path) -> Path:
        """Not one that holds all of the data set, such as "/": a search there would not end."""
        if folder.resolve() in self.file.parent.resolve().parents:
            raise DataError(f"{self.file}: images lie in a folder of theirs, found {folder}, which is above data.yaml")
        return folder

    def _record(self, image: Path, indices: list[int], findings: Findings) -> Record | None:
        found = find_image(image.name, [image.parent], findings)
        if found is None:
            return None
        labels = {index: label for label, index in enumerate(indices)}
        boxes = list(_boxes(label_file(image), labels, found[1], findings))
        return build_record(self._identity(image), *found, None, boxes, findings)

    def _identity(self, image: Path) -> str:
        """The path from data.yaml's folder: names may occur once in each folder."""
        root = self.file.parent.resolve()
        whole = image.resolve()
        return str(whole.relative_to(root) if whole.is_relative_to(root) else whole)


def find_yolo(data: Path, split: str) -> YoloSource | None:
    """The split of a folder's data.yaml, or of such a file itself."""
    folder = (data / "data.yaml", data / "data.yml")
    file = next((one for one in (folder if data.is_dir() else (data,)) if one.is_file()), None)
    if file is None or file.suffix.lower() not in (".yaml", ".yml"):
        return None
    content = _content(file)
    place = next((content[key] for key in KEYS.get(split, (split,)) if content.get(key)), None)
    if place is None:
        return None
    places = place if isinstance(place, list) else [place]
    if not all(isinstance(one, str) for one in places):
        raise DataError(f"{file}: {split} must be a folder or a list of folders, found {reprlib.repr(place)[:60]}")
    base = content.get("path") or ""
    if not isinstance(base, str):
        raise DataError(f"{file}: path must be a folder, found {reprlib.repr(base)[:60]}")
    return YoloSource(file, _names(content.get("names"), file), tuple(places), base)


def label_file(image: Path) -> Path:
    """Where the boxes of an image stand: "labels" for the last "images" of its path."""
    parts = list(image.parts)
    if "images" in parts[:-1]:
        last = len(parts) - 2 - parts[-2::-1].index("images")
        parts[last] = "labels"
    return Path(*parts).with_suffix(".txt")


def _content(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except Exception as error:  # its tags of values (!!float "") raise anything
        raise DataError(f"{file} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise DataError(f"{file}: expected train, val and names, found {reprlib.repr(content)[:60]}")
    return content


def _names(names: object, file: Path) -> dict[int, str]:
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or not all(type(index) is int for index in names):
        raise DataError(f"{file}: names must be a list, or texts by whole number, found {reprlib.repr(names)[:60]}")
    if wrong := [name for name in names.values() if isinstance(name, dict | list | set)]:
        raise DataError(f"{file}: a name must be a text, found {reprlib.repr(wrong[0])[:60]}")
    return {index: str(name).strip() for index, name in names.items()}


def _lines(file: Path) -> list[tuple[int, str]]:
    """Lines with something on them, by number."""
    if not is_file(file):
        raise DataError(f"cannot read {file}: it is no file")
    try:
        lines = enumerate(file.read_text(encoding="utf-8-sig").splitlines(), 1)
        return [(number, line.strip()) for number, line in lines if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {file}: {error}") from error


def _boxes(file: Path, labels: dict[int, int], header: ImageHeader, findings: Findings) -> Iterator[RawBox]:
    for number, line in _lines(file) if os.path.lexists(file) else []:
        place = f"{file.name} line {number}"
        index, *values = _numbers(line, place)
        if index not in labels:
            findings.unknown_categories.append(f"{place}: category {index:g}")
            continue
        yield RawBox(place, _corners(values, header.size, place), labels[int(index)])


def _numbers(line: str, place: str) -> list[float]:
    try:
        numbers = [float(word) for word in line.split()]
    except ValueError:
        raise DataError(f"{place}: expected numbers, found {line[:60]!r}") from None
    if len(numbers) != 5 and (len(numbers) < 7 or len(numbers) % 2 == 0):
        raise DataError(f'{place}: expected "class cx cy w h" or a polygon, found {len(numbers)} numbers')
    return numbers


def _corners(values: list[float], size: ImageSize, place: str) -> tuple[float, float, float, float]:
    if len(values) == 4:
        x, y, width, height = values
        left, top, right, bottom = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    else:
        xs, ys = values[::2], values[1::2]
        left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    if max(map(abs, values)) > 2:
        raise DataError(f"{place}: numbers must be relative to the image, in 0..1, found {max(values, key=abs):g}")
    return left * size.width, top * size.height, right * size.width, bottom * size.height
