"""Evaluation of a loaded model on a data set: what `smca eval` does.

Raises DataError for data that cannot be read or has a class that the model does not know. What reading the data
skipped or changed is listed.
"""

from __future__ import annotations

from pathlib import Path

from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from smca.data.dataset import Collate, EvalDataset
from smca.data.layouts import Format
from smca.data.reading import read_split
from smca.data.records import Split
from smca.evaluation.coco import Summary
from smca.evaluation.examination import Examination
from smca.evaluation.loop import collect
from smca.evaluation.report import write_report
from smca.files import write_json, writing
from smca.inference.loading import class_names, processor_of
from smca.progress import Progress


def evaluate_model(
    model: PreTrainedModel,
    data: Path,
    *,
    split: str = "val",
    batch: int = 4,
    workers: int = 2,
    strict: bool = False,
    format: Format | None = None,
    report: Path | None = None,
    numbers: Path | None = None,
) -> Summary:
    """Return the COCO numbers of a loaded model on a split, classes matched by name.

    report: a folder to write a page into; numbers: a file for all of the page's numbers as JSON.
    """
    records = with_classes_of(model, read_split(data, split, strict=strict, format=format))
    processor = processor_of(model)
    if report is not None:
        with writing(report):
            report.mkdir(parents=True, exist_ok=True)
    loader = DataLoader(
        EvalDataset(records.records), batch, num_workers=workers, collate_fn=Collate(processor, train=False)
    )
    with Progress("evaluating") as progress:
        for line in records.findings.lines():
            progress.print(line)
        evaluator = collect(model, processor, loader, records, model.device, progress)
        if report is None and numbers is None:
            return evaluator.summary()
        examination = Examination.of(model, processor, data, evaluator)
    if numbers is not None:
        write_json(numbers, examination.to_json())
    if report is not None:
        write_report(report, examination)
    return examination.summary


def with_classes_of(model: PreTrainedModel, split: Split) -> Split:
    """Return the split labelled in the model's classes; DataError when it has a class the model lacks."""
    names = class_names(model)
    return split.aligned(names, tuple(range(len(names))))
