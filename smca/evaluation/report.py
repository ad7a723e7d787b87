"""The HTML report of an evaluation.

COCO's numbers, classes, curves, confusions, kinds of errors, sizes, the worst and the best images, how the model
learned where it lies in a run, and what was measured and how.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from smca.errors import DataError
from smca.evaluation.coco import KEPT_PER_IMAGE, Summary
from smca.evaluation.diagnosis import BACKGROUND, Diagnosis, ErrorKind
from smca.evaluation.examination import BEST, WORST, Examination
from smca.evaluation.examples import outcome_picture
from smca.files import write_atomically
from smca.visualization.curves import ap_curve, loss_curve, read_metrics
from smca.visualization.evaluation_charts import over_threshold, precision_over_recall
from smca.visualization.page import Bar, Card, Cell, Matrix, Named, Picture, Section, Table, page

CONFUSIONS = 12
NOTHING = "—"
MEANINGS = {
    "AP": "mean over IoU 0.50 to 0.95",
    "AP50": "IoU 0.50",
    "AP75": "IoU 0.75",
    "APs": "objects below 32x32 pixels",
    "APm": "objects from 32x32 to 96x96 pixels",
    "APl": "objects above 96x96 pixels",
    "AR1": "recall with 1 detection an image",
    "AR10": "recall with 10 detections an image",
    "AR100": "recall with 100 detections an image",
    "ARs": "recall, objects below 32x32 pixels",
    "ARm": "recall, objects from 32x32 to 96x96 pixels",
    "ARl": "recall, objects above 96x96 pixels",
}
ERRORS: dict[ErrorKind, str] = {
    "classification": "An object of another class is there (IoU 0.5 or more).",
    "localisation": "An object of the class is there, but the box fits it badly (IoU 0.1 to 0.5).",
    "both": "An object of another class is near (IoU 0.1 to 0.5).",
    "duplicate": "The object was already found by a detection with a higher score.",
    "background": "Nothing is there (IoU below 0.1 with everything).",
    "missed": "No detection is right about the object, and none is wrong in its class or its place alone.",
}
HOW_CONFUSED = (
    "Rows: what is there. Columns: what was shown, by detections with a score of at least {threshold:.3f}. The best "
    "score chooses first: the free object that its box overlaps most, at IoU 0.5 or more, whatever the class. Last "
    "column: missed. Last row: no free object was there. Colour: share of the row."
)
HOW_WRONG = (
    "Every false alarm and every missed object has one kind, the first that fits in the order localisation, "
    "classification, duplicate, both, background (after TIDE). Shown: how many there are from the threshold "
    "{threshold:.3f} on. Cost: by how many points AP50 would rise if there were none of them, counted over all "
    "detections as AP is; costs do not add up."
)
HOW_RANKED = (
    "By F1 of the image from the threshold on, lowest first; of equals, the one with more errors. First picture: what "
    "is there, red where it was missed. Second: what was shown, red where it is a false alarm. Blue is right, amber a "
    "crowd region. A click enlarges."
)
AREAS = {"small": "area below 32x32 pixels", "medium": "from 32x32 to 96x96", "large": "above 96x96"}
PACKAGES = ("smca-detr", "transformers", "torch", "hotcoco")


def write_report(folder: Path, examination: Examination) -> Path:
    """Write `folder`/index.html."""
    one = examination
    split, diagnosis = one.evaluator.split, one.diagnosis
    sections = [
        numbers_section(one.summary),
        _classes(diagnosis),
        _curves(one),
        _confusion(diagnosis, split.class_names),
        _errors(diagnosis),
        _sizes(one),
        *_images(one),
        *_learning(one),
        _facts(one),
        *_skipped(split.findings.lines()),
    ]
    text = (
        f"On {one.data.name or one.data}, {split.name}: {len(split.records):,} images, "
        f"{sum(one.objects for one in diagnosis.classes):,} objects, {len(split.class_names)} classes. "
        f"COCO's protocol: {KEPT_PER_IMAGE} detections an image, no score cut. What needs one is counted from the "
        f"model's own threshold {diagnosis.threshold:.3f} on."
    )
    write_atomically(folder / "index.html", page(f"Evaluation of {one.name}", text, _cards(one), sections))
    return folder / "index.html"


def number_rows(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, value in percent and meaning of each of the twelve numbers."""
    return [(key, percent(summary[key]), meaning) for key, meaning in MEANINGS.items()]


def numbers_section(summary: Mapping[str, Any]) -> Section:
    """The twelve numbers, precision beside recall."""
    rows = [(Named(name, meaning), bar(summary[name])) for name, meaning in MEANINGS.items()]
    precision, recall = (Table((title, "%"), part) for title, part in (("precision", rows[:6]), ("recall", rows[6:])))
    return Section("COCO's twelve numbers", table=precision, second_table=recall)


def class_rows(summary: Summary) -> list[tuple[str, str]]:
    """Name and AP in percent of each class."""
    return [(name, percent(value)) for name, value in summary["per_class"].items()]


def percent(value: float | None) -> str:
    """A fraction in percent with one decimal; a dash where it is undefined."""
    return NOTHING if value is None else f"{100 * value:.1f}"


def bar(value: float | None) -> Cell:
    """The same with a bar."""
    return NOTHING if value is None else Bar(percent(value), value)


def _cards(one: Examination) -> list[Card]:
    here, best = one.diagnosis.here, one.summary["best_threshold"]
    scores = [Card(percent(one.summary[name]), name, MEANINGS[name]) for name in ("AP", "AP50", "AP75", "AR100")]
    own = "no detection is right" if best is None else f"best on this split: {best:.3f}"
    at = f"precision {percent(here.precision)}, recall {percent(here.recall)}"
    return [*scores, Card(percent(here.f1), "F1", f"{at}"), Card(f"{one.diagnosis.threshold:.3f}", "threshold", own)]


def _classes(diagnosis: Diagnosis) -> Section:
    """Lowest AP first, classes without objects last."""
    order = sorted(diagnosis.classes, key=lambda one: (one.ap is None, one.ap or 0.0))
    rows: list[Sequence[Cell]] = []
    for one in order:
        best = (one.best.precision, one.best.recall, one.best.f1) if one.best else (None, None, None)
        threshold = NOTHING if one.best is None else f"{one.best.threshold:.3f}"
        objects = f"{one.objects:,}" if one.objects else "no objects"
        rows.append((one.name, bar(one.ap), bar(one.ap50), objects, *map(percent, best), threshold))
    text = "Lowest AP first. Precision, recall and F1 at IoU 0.5, where the class has its best F1; at which threshold."
    headings = ("class", "AP", "AP50", "objects", "precision", "recall", "F1", "threshold")
    return Section("Classes", text, table=Table(headings, rows))


def _curves(one: Examination) -> Section:
    diagnosis = one.diagnosis
    curves = {
        name: [getattr(point, name.lower()) for point in diagnosis.curve] for name in ("F1", "precision", "recall")
    }
    note = "F1, precision and recall of all classes together over the score threshold, at IoU .50"
    return Section(
        "Curves",
        pictures=[
            precision_over_recall([(c.name, c.objects) for c in diagnosis.classes], diagnosis.precision),
            over_threshold(curves, diagnosis.threshold, note),
        ],
    )


def _confusion(diagnosis: Diagnosis, class_names: Sequence[str]) -> Section:
    """The matrix of the classes that are there or shown, and the most frequent confusions."""
    used = (diagnosis.confusion.sum(axis=0) + diagnosis.confusion.sum(axis=1)) > 0
    used[-1] = True
    absent = int((~used).sum())
    text = HOW_CONFUSED.format(threshold=diagnosis.threshold)
    names = [name for name, there in zip([*class_names, BACKGROUND], used, strict=True) if there]
    rows = [(f"{is_} taken for {shown}", f"{count:,}") for is_, shown, count in _confusions(diagnosis, class_names)]
    return Section(
        "Confusion matrix",
        f"{text} Left out: {absent} classes that are neither there nor shown." if absent else text,
        matrix=Matrix("is \\ shown as", names, diagnosis.confusion[used][:, used]),
        table=Table(("most frequent confusions", "times"), rows) if rows else None,
    )


def _confusions(diagnosis: Diagnosis, class_names: Sequence[str]) -> list[tuple[str, str, int]]:
    """What is there, what it was taken for, and how often."""
    counts = diagnosis.confusion[:-1, :-1] * ~np.eye(len(class_names), dtype=bool)
    order = np.argsort(-counts, axis=None, kind="stable")[:CONFUSIONS]
    places = [divmod(int(place), len(class_names)) for place in order]
    return [(class_names[i], class_names[j], int(counts[i, j])) for i, j in places if counts[i, j]]


def _errors(diagnosis: Diagnosis) -> Section:
    largest = max((cost for _, cost in diagnosis.errors.values()), default=0.0) or 1.0
    rows = [
        (Named(kind, ERRORS[kind]), f"{count:,}", Bar(percent(cost), cost / largest))
        for kind, (count, cost) in diagnosis.errors.items()
    ]
    text = HOW_WRONG.format(threshold=diagnosis.threshold)
    return Section("Kinds of errors", text, table=Table(("kind", "shown", "cost in AP50"), rows))


def _sizes(one: Examination) -> Section:
    rows: list[Sequence[Cell]] = []
    for size, (objects, found) in one.diagnosis.found_by_size.items():
        recall = found / objects if objects else None
        numbers: Mapping[str, Any] = one.summary
        letter = size[0]
        rows.append(
            (
                Named(size, AREAS[size]),
                f"{objects:,}",
                bar(numbers[f"AP{letter}"]),
                bar(numbers[f"AR{letter}"]),
                bar(recall),
            )
        )
    text = "Found: the share of objects that detections from the threshold on are right about, at IoU 0.5."
    return Section("Sizes", text, table=Table(("size", "objects", "AP", "AR", "found"), rows))


def _images(one: Examination) -> list[Section]:
    def pictures(outcomes: Sequence[Any]) -> list[Picture]:
        return [outcome_picture(one.evaluator, outcome, one.diagnosis.threshold) for outcome in outcomes]

    worst, best = one.diagnosis.worst(WORST), one.diagnosis.best(BEST)
    return [
        Section("Worst images", HOW_RANKED, pictures(worst))
        if worst
        else Section("Worst images", "No image has an error."),
        Section("Best images", "Highest F1 first; of equals, the one with more objects found.", pictures(best))
        if best
        else Section("Best images", "In no image is anything found."),
    ]


def _learning(one: Examination) -> list[Section]:
    """Where the model lies in a run."""
    path = one.folder.parent / "metrics.jsonl"
    if not one.model.name_or_path or not path.is_file():
        return []
    try:
        epochs = read_metrics(path)
    except DataError as error:
        return [Section("Convergence", str(error))]
    return [Section("Convergence", "Of the run that the model comes from, on its val.", learning_curves(epochs))]


def learning_curves(epochs: Sequence[dict[str, Any]]) -> list[Picture]:
    """AP and loss over a run's epochs."""
    return [
        Picture(ap_curve(epochs), "AP on val over epochs", "half", chart=True),
        Picture(loss_curve(epochs), "training loss over epochs", "half", chart=True),
    ]


def _facts(one: Examination) -> Section:
    split, config = one.evaluator.split, one.model.config
    crowds = sum(int(record.crowd.sum()) for record in split.records)
    empty = sum(not (~record.crowd).any() for record in split.records)
    queries = getattr(config, "num_queries", None)
    size: Mapping[str, int] = getattr(one.processor, "size", {})
    rows = [
        ("model", str(one.model.name_or_path or type(one.model).__name__)),
        ("parameters", f"{sum(parameter.numel() for parameter in one.model.parameters()):,}"),
        ("queries", NOTHING if queries is None else f"{queries}"),
        ("input", ", ".join(f"{side.replace('_', ' ')} {pixels}" for side, pixels in dict(size).items())),
        ("data", f"{one.data}, {split.name}"),
        ("images", f"{len(split.records):,}, {empty:,} of them without an object"),
        ("crowd regions", f"{crowds:,}, neither to be found nor missed"),
        ("protocol", f"COCO: IoU 0.50 to 0.95, {KEPT_PER_IMAGE} detections an image, no score cut"),
        ("threshold", f"{one.diagnosis.threshold:.6g}, stored with the model"),
        ("software", ", ".join(f"{name} {version(name)}" for name in PACKAGES)),
    ]
    return Section("What was measured", table=Table((), rows))


def _skipped(lines: Sequence[str]) -> list[Section]:
    rows = [(line,) for line in lines]
    return [Section("What reading the data skipped or changed", table=Table(("finding",), rows))] if rows else []
