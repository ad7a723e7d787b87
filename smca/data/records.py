"""One record type for every data set: what an image is and what is on it.

Boxes are float32 [n, 4] x1 y1 x2 y2 in pixels of the image as it is seen (after its EXIF orientation), inside
the image and of positive area. Labels are int64 [n], contiguous 0..K-1; the raw category ids of the file live
in the `Split`. Crowd regions stay in the record (evaluation honours them) and out of `trainable` (the loss
must not see them).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from smca.errors import DataError
from smca.sizes import ImageSize

Identifier = int | str


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One image: crowd is bool [n]; areas float64 [n] as COCO states them (or width x height), in pixels."""

    image_id: Identifier
    path: Path
    size: ImageSize
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray

    @property
    def trainable(self) -> tuple[np.ndarray, np.ndarray]:
        """Boxes and labels without crowd regions."""
        return self.boxes[~self.crowd], self.labels[~self.crowd]


@dataclass(frozen=True)
class Findings:
    """What a reader skipped or changed, one text for each case."""

    missing_images: list[str] = field(default_factory=list)
    unreadable_images: list[str] = field(default_factory=list)
    wrong_sizes: list[str] = field(default_factory=list)
    turned_images: list[str] = field(default_factory=list)
    clipped_boxes: list[str] = field(default_factory=list)
    dropped_boxes: list[str] = field(default_factory=list)
    unknown_images: list[str] = field(default_factory=list)
    unknown_categories: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many cases there are, of all kinds."""
        return sum(len(getattr(self, kind.name)) for kind in fields(self))

    def lines(self, examples: int = 3) -> list[str]:
        """One line for each kind of finding that occurred: how often, what was done, the first examples."""
        lines = []
        for kind in fields(self):
            cases: list[str] = getattr(self, kind.name)
            if cases:
                shown = cases[:examples] + ["..."] * (len(cases) > examples)
                lines.append(f"{len(cases)} {_MEANING[kind.name]}: {'; '.join(shown)}")
        return lines


_MEANING = {
    "missing_images": "images not found, skipped",
    "unreadable_images": "images cannot be read, skipped",
    "wrong_sizes": "images differ in size from what the annotations say, the file's size taken",
    "turned_images": "images annotated as stored but shown turned (EXIF), their boxes turned too",
    "clipped_boxes": "boxes reach outside their image, clipped",
    "dropped_boxes": "boxes without area, dropped",
    "unknown_images": "annotations of an image that is not listed, dropped",
    "unknown_categories": "annotations of a category that is not listed, dropped",
}


@dataclass(frozen=True)
class Split:
    """A named part of a data set; class_names and category_ids (raw, as in the file) are indexed by label."""

    name: str
    records: tuple[Record, ...]
    class_names: tuple[str, ...]
    category_ids: tuple[Identifier, ...]
    findings: Findings = field(default_factory=Findings)

    def aligned(self, class_names: tuple[str, ...], category_ids: tuple[Identifier, ...]) -> Split:
        """The same records labelled in another set's classes, matched by name; DataError when a name is not
        there.
        """
        if (self.class_names, self.category_ids) == (class_names, category_ids):
            return self
        if self.class_names == class_names:
            return replace(self, category_ids=category_ids)
        missing = [name for name in self.class_names if name not in class_names]
        if missing:
            raise DataError(
                f"{self.name} has categories that are not among the {len(class_names)} known ones: "
                f"found {_listed(missing)}, allowed {_listed(class_names)}"
            )
        labels = np.array([class_names.index(name) for name in self.class_names], dtype=np.int64)
        records = tuple(replace(record, labels=labels[record.labels]) for record in self.records)
        return replace(self, records=records, class_names=class_names, category_ids=category_ids)


def _listed(names: list[str] | tuple[str, ...], most: int = 10) -> str:
    return ", ".join(f"'{name}'" for name in names[:most]) + (", ..." if len(names) > most else "")
