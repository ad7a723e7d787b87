"""The Pascal VOC format: an XML file for each image -> `Split`.

    Annotations/*.xml      names, boxes (xmin, ymin, xmax, ymax), `difficult`
    JPEGImages/            the pictures, by the annotation's file name or, where that is not there, its own
    ImageSets/Main/*.txt   the names in train, val, test; train may be trainval; without any all are train

Box corners are taken as they stand, as the tools that write this format today mean them (the original counted
pixels from 1). Classes are the names in all of Annotations, sorted. `difficult` objects are kept like COCO's crowd
regions: training does not see them, evaluation neither asks for them nor punishes them. Raises DataError, one line
naming file and place, for what cannot be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, parse

from smca.data.building import RawBox, build_record, check_lost, find_image
from smca.data.records import Findings, Record, Split
from smca.errors import DataError
from smca.files import is_file
from smca.sizes import ImageSize

FOLDERS = ("JPEGImages", "images", "Annotations", "")
SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class VocSource:
    """A folder and the names of one of its sets."""

    root: Path
    names: tuple[str, ...]

    def read(self, name: str, strict: bool) -> Split:
        """Read all annotations, for the classes, and look for the images of the set."""
        if not self.names:
            raise DataError(f"{self.root}: the set {name} names no image, at least one is needed")
        trees = {file.stem: _parsed(file) for file in sorted((self.root / "Annotations").glob("*.xml"))}
        classes = tuple(sorted({_text(item, "name", stem) for stem, tree in trees.items() for item in _objects(tree)}))
        labels = {known: label for label, known in enumerate(classes)}
        if not classes:
            raise DataError(f"{self.root / 'Annotations'}: no object in any file, at least one is needed")
        findings = Findings()
        records = [self._record(stem, trees, labels, findings) for stem in self.names]
        check_lost(findings, len(records), strict)
        found = [record for record in records if record is not None]
        return Split(name, found, classes, tuple(range(1, len(classes) + 1)), findings)

    def _record(
        self, stem: str, trees: Mapping[str, Element], labels: Mapping[str, int], findings: Findings
    ) -> Record | None:
        if stem not in trees:
            raise DataError(f"{self.root}: the set names {stem}, but there is no Annotations/{stem}.xml")
        tree = trees[stem]
        found = find_image(self._picture(stem, tree), [self.root / folder for folder in FOLDERS], findings)
        if found is None:
            return None
        boxes = [_raw_box(item, f"{stem} object {i}", labels) for i, item in enumerate(_objects(tree), 1)]
        return build_record(stem, *found, _declared(tree), boxes, findings)

    def _picture(self, stem: str, tree: Element) -> str:
        stated = Path((tree.findtext("filename") or stem).strip().replace("\\", "/")).name
        if any(is_file(self.root / folder / stated) for folder in FOLDERS):
            return stated
        own = (path for folder in FOLDERS[:2] for path in sorted((self.root / folder).glob("*")) if path.stem == stem)
        return next((path.name for path in own), stated)


def find_voc(root: Path, split: str) -> VocSource | None:
    """The set of that name, if this is such a folder."""
    if not (root / "Annotations").is_dir():
        return None
    sets = root / "ImageSets" / "Main"
    for name in (split, "trainval") if split == "train" else (split,):
        if (sets / f"{name}.txt").is_file():
            return VocSource(root, _names(sets / f"{name}.txt", root / "Annotations"))
    if split != "train" or any(sets.glob("*.txt")):
        return None
    return VocSource(root, tuple(sorted(file.stem for file in (root / "Annotations").glob("*.xml"))))


def _names(file: Path, annotations: Path) -> tuple[str, ...]:
    """One in each line, maybe with a number after it, as in the sets of single classes."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {file}: {error}") from error
    names = (line.strip() for line in lines if line.strip())
    return tuple(name if is_file(annotations / f"{name}.xml") else name.split()[0] for name in names)


def _parsed(file: Path) -> Element:
    if not file.is_file():
        raise DataError(f"{file} is no file")
    try:
        tree = parse(file).getroot()
    except (ParseError, DefusedXmlException, ValueError, LookupError, OSError) as error:
        raise DataError(f"{file} cannot be read as XML: {error}") from error
    if tree is None or tree.tag != "annotation":
        raise DataError(f"{file}: expected an <annotation>, found <{'' if tree is None else tree.tag}>")
    return tree


def _objects(tree: Element) -> list[Element]:
    return tree.findall("object")


def _declared(tree: Element) -> ImageSize | None:
    try:
        width, height = (int(float(tree.findtext(f"size/{side}") or "")) for side in ("width", "height"))
    except (ValueError, OverflowError):
        return None
    return ImageSize(height=height, width=width) if width > 0 and height > 0 else None


def _raw_box(item: Element, title: str, labels: Mapping[str, int]) -> RawBox:
    x1, y1, x2, y2 = (_number(item, f"bndbox/{side}", title) for side in SIDES)
    difficult = (item.findtext("difficult") or "0").strip() not in ("0", "")
    return RawBox(title, (x1, y1, x2, y2), labels[_text(item, "name", title)], difficult)


def _text(item: Element, key: str, place: str) -> str:
    value = (item.findtext(key) or "").strip()
    if not value:
        raise DataError(f"{place}: <{key}> must be a text, found nothing")
    return value


def _number(item: Element, key: str, place: str) -> float:
    value = _text(item, key, place)
    try:
        return float(value)
    except ValueError:
        raise DataError(f"{place}: <{key}> must be a number, found {value[:60]!r}") from None
