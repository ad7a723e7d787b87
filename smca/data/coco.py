"""The COCO format: one JSON file with `images`, `annotations` and `categories` -> `Split`.

Ids may be integers of any base and with gaps, or texts. Classes are the file's `categories` sorted by id, all
of them, also those without a box. Boxes are `[x, y, width, height]` in pixels; they leave as x1 y1 x2 y2, and
`building` says how they are cleaned. What is skipped or changed is listed in `Split.findings`. Raises
DataError, one line naming file and place, for values of a wrong type, double ids, and when no image is left.
"""

from __future__ import annotations

import math
import reprlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from smca.data.building import RawBox, build_record, check_lost, find_image
from smca.data.records import Findings, Identifier, Record, Split
from smca.errors import DataError
from smca.files import read_json
from smca.sizes import ImageSize

Item = Mapping[str, Any]


def read_coco(annotation_file: Path, image_folders: Sequence[Path], name: str, strict: bool = False) -> Split:
    """Read one annotation file; images are looked for in each folder in turn. `strict` raises for lost
    images.
    """
    content = read_json(annotation_file)
    try:
        return _read(content, image_folders, name, strict)
    except DataError as error:
        raise DataError(f"{annotation_file}: {error}") from error


def _read(content: object, image_folders: Sequence[Path], name: str, strict: bool) -> Split:
    if not isinstance(content, dict):
        raise DataError(f"expected an object with images, annotations and categories, found {_kind(content)}")
    findings = Findings()
    categories = _by_id(content, "categories")
    category_ids = sorted(categories, key=lambda identifier: (isinstance(identifier, str), identifier))
    class_names = tuple(
        _text(categories[identifier], "name", f"category {identifier}").strip() for identifier in category_ids
    )
    labels = {identifier: label for label, identifier in enumerate(category_ids)}
    images = _by_id(content, "images")
    boxes = _boxes_by_image(content, images, labels, findings)
    records = [_record(identifier, image, boxes, image_folders, findings) for identifier, image in images.items()]
    check_lost(findings, len(images), strict)
    found = [record for record in records if record is not None]
    return Split(name, found, class_names, tuple(category_ids), findings)


def _by_id(content: Item, key: str) -> dict[Identifier, Item]:
    items: dict[Identifier, Item] = {}
    for place, item in _items(content, key):
        identifier = _identifier(item, "id", place)
        if identifier in items:
            raise DataError(f"{place}: id {identifier!r} occurs twice in {key}")
        items[identifier] = item
    if not items:
        raise DataError(f"{key} is empty: at least one is needed")
    return items


def _boxes_by_image(
    content: Item, images: Mapping[Identifier, Item], labels: Mapping[Identifier, int], findings: Findings
) -> dict[Identifier, list[RawBox]]:
    boxes: dict[Identifier, list[RawBox]] = defaultdict(list)
    for place, annotation in _items(content, "annotations"):
        known = annotation.get("id")
        title = f"annotation {known if isinstance(known, int | str) else place}"
        image = _identifier(annotation, "image_id", place)
        category = _identifier(annotation, "category_id", place)
        if image not in images:
            findings.unknown_images.append(f"{title}: image {image!r}")
        elif category not in labels:
            findings.unknown_categories.append(f"{title}: category {category!r}")
        else:
            boxes[image].append(_raw_box(annotation, title, place, labels[category]))
    return boxes


def _record(
    identifier: Identifier,
    image: Item,
    boxes: Mapping[Identifier, Sequence[RawBox]],
    folders: Sequence[Path],
    findings: Findings,
) -> Record | None:
    file = find_image(_text(image, "file_name", f"image {identifier}"), folders, findings)
    if file is None:
        return None
    path, header = file
    width, height = image.get("width"), image.get("height")
    declared = ImageSize(height=height, width=width) if isinstance(width, int) and isinstance(height, int) else None
    return build_record(identifier, path, header, declared, boxes.get(identifier, ()), findings)


def _raw_box(annotation: Item, title: str, place: str, label: int) -> RawBox:
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise DataError(f"{place}: bbox must be four numbers [x, y, width, height], found {_short(box)}")
    x, y, width, height = map(float, box)
    area = annotation.get("area")
    stated = float(area) if _is_number(area) and math.isfinite(area) and area > 0 else None
    return RawBox(title, (x, y, x + width, y + height), label, _is_crowd(annotation, place), stated)


def _is_crowd(annotation: Item, place: str) -> bool:
    crowd = annotation.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise DataError(f"{place}: iscrowd must be 0 or 1, found {_short(crowd)}")
    return bool(crowd)


def _items(content: Item, key: str) -> Iterator[tuple[str, Item]]:
    """The objects of a list, each with its place in the file."""
    items = content.get(key)
    if not isinstance(items, list):
        raise DataError(f"{key} must be a list of objects, found {_kind(items)}")
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise DataError(f"{key}[{index}] must be an object, found {_kind(item)}")
        yield f"{key}[{index}]", item


def _identifier(item: Item, key: str, place: str) -> Identifier:
    value = item.get(key)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise DataError(f"{place}: {key} must be an integer or a text, found {_short(value)}")
    return value


def _text(item: Item, key: str, place: str) -> str:
    value = item.get(key)
    if not isinstance(value, str) or not value:
        raise DataError(f"{place}: {key} must be a text, found {_short(value)}")
    return value


def _is_number(value: object) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < 2**53  # longer whole numbers do not fit a float


def _short(value: object) -> str:
    return "nothing" if value is None else reprlib.repr(value)[:60]


def _kind(value: object) -> str:
    names: dict[type, str] = {
        type(None): "nothing",
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "a truth value",
    }
    return names.get(type(value), "a number")
