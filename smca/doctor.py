"""`smca data check`: what is wrong with a data set, what is in it, and which recipe, size and queries suit it.

The report is text for the terminal and a page with pictures. Advice is arithmetic on boxes: the input size at which the
smallest tenth of objects still spans a cell of the finest level, the queries that the fullest image needs.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.ticker import ScalarFormatter

from smca.data.building import check_lost
from smca.data.images import load_image
from smca.data.layouts import Format
from smca.data.reading import read_splits
from smca.data.records import Record, Split
from smca.data.twins import thumbnail, twins
from smca.detections import Detections
from smca.errors import DataError
from smca.files import write_atomically
from smca.progress import Progress
from smca.training.recipe import Recipe, resized
from smca.training.recipes import find_recipe
from smca.visualization.detections import draw
from smca.visualization.figures import new_figure, rendered
from smca.visualization.page import Card, Picture, Section, Table, page

RARE, UNEVEN = 10, 20  # boxes of a class; most frequent class to the least
SAMPLES = 12
SIZES = range(256, 801, 32)
SHOWN = 5


@dataclass(frozen=True)
class Checkup:
    """What was seen in DATA: splits with the same classes, pairs of pictures that look alike, and the advice."""

    data: Path
    splits: list[Split]
    alike: list[tuple[Path, Path, bool]]  # the last: in two splits
    recipe: Recipe
    sides: np.ndarray  # of all boxes: square root of the area, in shorter sides of the image
    fullest: int

    @property
    def size(self) -> int:
        """The shorter side at which nine of ten objects span a cell of the finest level."""
        needed = finest_stride(self.recipe) / max(float(np.quantile(self.sides, 0.1)), 1e-6) if len(self.sides) else 0
        return next((size for size in SIZES if size >= needed), SIZES[-1])

    def counts(self) -> dict[str, list[int]]:
        """Boxes by class, in each split."""
        found = [
            Counter(label for record in split.records for label in record.labels.tolist()) for split in self.splits
        ]
        names = self.splits[0].class_names
        return {name: [count[label] for count in found] for label, name in enumerate(names)}


def check(data: Path, format: Format | None = None) -> Checkup:
    """Read all splits and look at every picture; those that cannot be decoded are left out and counted."""
    whole = read_splits(data, format=format)
    thumbnails: list[np.ndarray] = []
    with Progress("looking at pictures") as progress:
        total = sum(len(split.records) for split in whole)
        splits = [_looked_through(split, thumbnails, total, progress) for split in whole]
    places = [(record.path, number) for number, split in enumerate(splits) for record in split.records]
    pairs = twins(thumbnails)
    alike = [(places[i][0], places[j][0], places[i][1] != places[j][1]) for i, j in pairs]
    records = [record for split in splits for record in split.records]
    sides = np.concatenate([np.zeros(0), *(_sides(record) for record in records)])
    fullest = max((len(record.trainable[1]) for record in records), default=0)
    recipe = find_recipe("smca-medium" if torch.cuda.is_available() else "smca-small")
    return Checkup(data, splits, alike, recipe, sides, fullest)


def _looked_through(split: Split, thumbnails: list[np.ndarray], total: int, progress: Progress) -> Split:
    """The split without pictures that cannot be decoded, whose thumbnails are added to the others'."""
    records: list[Record] = []
    for record in split.records:
        try:
            thumbnails.append(thumbnail(record.path))
            records.append(record)
        except DataError as error:
            split.findings.unreadable_images.append(str(error))
        progress(len(thumbnails), total)
    lost = len(split.findings.missing_images) + len(split.findings.unreadable_images)
    check_lost(split.findings, len(records) + lost, strict=False)
    return replace(split, records=records)


def _sides(record: Record) -> np.ndarray:
    extents = record.boxes[:, 2:] - record.boxes[:, :2]
    return np.sqrt(extents.prod(axis=1, dtype=np.float64)) / min(record.size)


def finest_stride(recipe: Recipe) -> int:
    """Pixels between cells of the finest level."""
    return 2 ** min(int(level[1:]) for level in recipe.config().levels)


def findings(checkup: Checkup) -> list[str]:
    """One line for everything that is wrong, the gravest first."""
    return list(_findings(checkup))


def _findings(checkup: Checkup) -> Iterator[str]:
    across = [pair for pair in checkup.alike if pair[2]]
    within = [pair for pair in checkup.alike if not pair[2]]
    if across:
        yield f"{len(across)} pictures look alike across splits, which flatters the numbers: {_pairs(across)}"
    for split in checkup.splits:
        yield from (f"{split.name}: {line}" for line in split.findings.lines())
    if within:
        yield f"{len(within)} pictures look alike within a split: {_pairs(within)}"
    counts = {name: sum(row) for name, row in checkup.counts().items()}
    if never := [name for name, count in counts.items() if not count]:
        yield f"{len(never)} classes without a box: {_few(never)}"
    if rare := [f"{name} ({count})" for name, count in counts.items() if 0 < count < RARE]:
        yield f"{len(rare)} classes with fewer than {RARE} boxes: {_few(rare)}"
    present = {name: count for name, count in counts.items() if count}
    if present and max(present.values()) > UNEVEN * min(present.values()):
        most, least = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
        yield f"classes are uneven: {present[most]} boxes of '{most}', {present[least]} of '{least}'"
    for split in checkup.splits:
        if empty := sum(not len(record.labels) for record in split.records):
            yield f"{split.name}: {empty} images without a box (they count as backgrounds)"
    if len(checkup.splits) == 1:
        yield "no val split: train with --val-fraction 0.2"


def advice(checkup: Checkup) -> str:
    """The command to start with."""
    words = [f"--recipe {checkup.recipe.name}"]
    if checkup.size > checkup.recipe.image_size:
        words.append(f"--image-size {checkup.size}")
    if checkup.fullest > checkup.recipe.config().num_queries:
        words.append(f"--set num_queries={checkup.fullest + checkup.fullest // 4}")
    if len(checkup.splits) == 1:
        words.append("--val-fraction 0.2")
    return f"smca train {shlex.quote(str(checkup.data))} {' '.join(words)}"


def size_rows(checkup: Checkup) -> list[tuple[str, str]]:
    """How many objects span how many cells of the finest level, at the recipe's input size."""
    recipe = resized(checkup.recipe, max(checkup.size, checkup.recipe.image_size))
    cells = checkup.sides * recipe.image_size / finest_stride(recipe)
    edges = (0.0, 1.0, 2.0, 4.0, 8.0, np.inf)
    counted, _ = np.histogram(cells, edges)
    titles = ("below 1 cell", "1 to 2 cells", "2 to 4 cells", "4 to 8 cells", "8 cells and more")
    return [(title, f"{count:,}") for title, count in zip(titles, counted, strict=True)]


def split_rows(checkup: Checkup) -> list[tuple[str, str, str, str]]:
    """Name, images, boxes and the fullest image of each split."""
    rows = []
    for split in checkup.splits:
        boxes = [len(record.labels) for record in split.records]
        rows.append((split.name, f"{len(boxes):,}", f"{sum(boxes):,}", f"{max(boxes, default=0)}"))
    return rows


def numbers(checkup: Checkup) -> dict[str, object]:
    """All of it for machines."""
    return {
        "splits": {name: {"images": images, "boxes": boxes} for name, images, boxes in _totals(checkup)},
        "classes": checkup.counts(),
        "findings": findings(checkup),
        "alike": [{"first": str(one), "second": str(two), "across": across} for one, two, across in checkup.alike],
        "objects_in_the_fullest_image": checkup.fullest,
        "image_size": checkup.size,
        "advice": advice(checkup),
    }


def _totals(checkup: Checkup) -> list[tuple[str, int, int]]:
    return [(split.name, len(split.records), sum(len(one.labels) for one in split.records)) for split in checkup.splits]


def write_page(checkup: Checkup, folder: Path) -> Path:
    """Write `folder`/index.html."""
    lines = findings(checkup)
    counts = [(name, *map(str, row)) for name, row in checkup.counts().items()]
    side = max(checkup.size, checkup.recipe.image_size)
    cards = [
        Card(row[1], f"images of {row[0]}", f"{row[2]} boxes, at most {row[3]} in one") for row in split_rows(checkup)
    ]
    sections = [
        Section("What to mend", table=Table(("finding",), [(line,) for line in lines]))
        if lines
        else Section("What to mend", "Nothing found."),
        Section("What to begin with", advice(checkup)),
        Section(
            "Sizes",
            f"Objects in cells of the finest level ({finest_stride(checkup.recipe)} pixels), shorter side {side}.",
            [_histogram(checkup, side)],
            Table(("size", "objects"), size_rows(checkup)),
        ),
        Section("Pictures as they are annotated", pictures=_samples(checkup)),
        Section("Boxes by class", table=Table(("class", *(split.name for split in checkup.splits)), counts)),
    ]
    text = f"{checkup.data}: {len(counts)} classes, {sum(len(split.records) for split in checkup.splits):,} images."
    write_atomically(folder / "index.html", page("Data check", text, cards, sections))
    return folder / "index.html"


def _samples(checkup: Checkup) -> list[Picture]:
    records = checkup.splits[0].records
    chosen = np.linspace(0, len(records) - 1, min(SAMPLES, len(records))).round().astype(int).tolist()
    names = checkup.splits[0].class_names
    return [_annotated(records[index], names) for index in chosen]


def _annotated(record: Record, class_names: Sequence[str]) -> Picture:
    names = tuple(class_names[label] for label in record.labels)
    true = Detections(record.boxes, np.ones(len(names), np.float32), record.labels, names, record.size)
    picture = draw(load_image(record.path).permute(1, 2, 0).numpy(), true, with_scores=False)
    picture.thumbnail((640, 640))
    return Picture(picture, f"{record.path.name}: {len(names)} boxes")


def _histogram(checkup: Checkup, side: int) -> Picture:
    figure = new_figure(7, 2.6)
    axes = figure.add_subplot()
    strides = [2.0 ** int(level[1:]) for level in checkup.recipe.config().levels]
    pixels = np.clip(checkup.sides * side, 1, None)
    span = np.concatenate([strides, pixels])
    axes.hist(pixels, bins=np.geomspace(span.min() / 1.2, span.max() * 1.2, 40).tolist(), color="#35a7ff")
    for stride in strides:
        axes.axvline(stride, color="#ff5a5f", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlabel(f"square root of the box's area in pixels, shorter side {side}; lines: strides of the levels")
    axes.set_ylabel("objects")
    return Picture(rendered(figure), "Sizes of objects against the levels' strides", "full")


def _pairs(pairs: Sequence[tuple[Path, Path, bool]]) -> str:
    return _few([f"{first.name} and {second.name}" for first, second, _ in pairs])


def _few(texts: Sequence[str]) -> str:
    return ", ".join(texts[:SHOWN]) + (", ..." if len(texts) > SHOWN else "")
