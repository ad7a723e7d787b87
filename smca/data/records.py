"""One record type for every data set: what an image is and what is on it.

Boxes are float32 [n, 4] x1 y1 x2 y2 in pixels of the image as it is seen (after its EXIF orientation), inside
the image and of positive area. Labels are int64 [n], contiguous 0..K-1; the raw category ids of the file live
in the `Split`. Crowd regions stay in the record (evaluation honours them) and out of `trainable` (the loss
must not see them).

A split keeps its records in a few arrays (`PackedRecords`), not as objects: loader processes share those pages with
the process that started them, where merely looking at an object writes to it and so copies it, epoch by epoch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import overload

import numpy as np

from smca.errors import UNPRINTABLE, DataError, printable
from smca.sizes import ImageSize

Identifier = int | str
LONGEST = 300  # signs of a finding that is shown


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


class _Texts:
    """Many byte strings in one array."""

    def __init__(self, texts: Iterable[bytes]) -> None:
        parts = list(texts)
        self._bytes = np.frombuffer(b"".join(parts), np.uint8)
        self._ends = np.cumsum([0, *map(len, parts)])

    def __getitem__(self, index: int) -> bytes:
        return self._bytes[self._ends[index] : self._ends[index + 1]].tobytes()


class PackedRecords(Sequence[Record]):
    """Records in a few arrays; one is made when it is asked for."""

    def __init__(self, records: Iterable[Record]) -> None:
        known = list(records)
        self._ids = _Texts(json.dumps(record.image_id).encode() for record in known)
        self._paths = _Texts(os.fsencode(record.path) for record in known)
        self._sizes = np.array([record.size for record in known], np.int64).reshape(-1, 2)
        self._ends = np.cumsum([0, *(len(record.boxes) for record in known)])
        self._boxes = np.concatenate([np.zeros((0, 4), np.float32), *(record.boxes for record in known)])
        self._labels = np.concatenate([np.zeros(0, np.int64), *(record.labels for record in known)])
        self._crowd = np.concatenate([np.zeros(0, bool), *(record.crowd for record in known)])
        self._areas = np.concatenate([np.zeros(0), *(record.areas for record in known)])

    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...

    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return [self._record(place) for place in range(len(self))[index]]
        return self._record(range(len(self))[index])

    def _record(self, index: int) -> Record:
        own = slice(self._ends[index], self._ends[index + 1])
        height, width = self._sizes[index].tolist()
        return Record(
            image_id=json.loads(self._ids[index]),
            path=Path(os.fsdecode(self._paths[index])),
            size=ImageSize(height=height, width=width),
            boxes=self._boxes[own],
            labels=self._labels[own],
            crowd=self._crowd[own],
            areas=self._areas[own],
        )


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
                shown = [printable(case, LONGEST) for case in cases[:examples]] + ["..."] * (len(cases) > examples)
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
    records: Sequence[Record]
    class_names: tuple[str, ...]
    category_ids: tuple[Identifier, ...]
    findings: Findings = field(default_factory=Findings)

    def __post_init__(self) -> None:
        for name in self.class_names:
            if not name.strip() or UNPRINTABLE.search(name):
                raise DataError(f"{self.name}: a class is called {name[:60]!r}; allowed: a text of printable signs")
        object.__setattr__(self, "records", PackedRecords(self.records))

    def aligned(self, class_names: tuple[str, ...], category_ids: tuple[Identifier, ...]) -> Split:
        """The same records labelled in another set's classes, matched by name; DataError when a name is not
        there.
        """
        if (self.class_names, self.category_ids) == (class_names, category_ids):
            return self
        if self.class_names == class_names:
            return replace(self, category_ids=category_ids)
        known = {name: label for label, name in reversed(list(enumerate(class_names)))}
        missing = [name for name in self.class_names if name not in known]
        if missing:
            raise DataError(
                f"{self.name} has categories that are not among the {len(class_names)} known ones: "
                f"found {_listed(missing)}, allowed {_listed(class_names)}"
            )
        labels = np.array([known[name] for name in self.class_names], dtype=np.int64)
        records = [replace(record, labels=labels[record.labels]) for record in self.records]
        return replace(self, records=records, class_names=class_names, category_ids=category_ids)


def _listed(names: list[str] | tuple[str, ...], most: int = 10) -> str:
    return ", ".join(f"'{name}'" for name in names[:most]) + (", ..." if len(names) > most else "")
