"""Evaluation from a model folder and a data set: what `smca eval` does.

Raises ModelError and DataError for a folder that is not what it should be, and DataError when the data has a
class that the model does not know. What reading the data skipped or changed is listed.
"""

from __future__ import annotations

from pathlib import Path

from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from smca.data.dataset import Collate, EvalDataset
from smca.data.reading import read_split
from smca.data.records import Split
from smca.evaluation.coco import Summary
from smca.evaluation.loop import evaluate
from smca.evaluation.report import write_report
from smca.inference.loading import Precision, class_names, load, processor_of
from smca.progress import Progress


def evaluate_folder(
    model_folder: str | Path,
    data: Path,
    *,
    split: str = "val",
    batch: int = 4,
    workers: int = 2,
    device: str | None = None,
    precision: Precision = "fp32",
    compile: bool = False,
    strict: bool = False,
    report: Path | None = None,
) -> Summary:
    """Return the COCO numbers of a model on a split, classes matched by name; write a page into `report`."""
    model = load(model_folder, device, precision, compile)
    records = with_classes_of(model, read_split(data, split, strict=strict))
    processor = processor_of(model)
    loader = DataLoader(
        EvalDataset(records.records), batch, num_workers=workers, collate_fn=Collate(processor, train=False)
    )
    with Progress("evaluating") as progress:
        for line in records.findings.lines():
            progress.print(line)
        summary = evaluate(model, processor, loader, records, model.device, progress)
    if report is not None:
        write_report(report, f"{model_folder} on {data}", summary, records, model, processor)
    return summary


def with_classes_of(model: PreTrainedModel, split: Split) -> Split:
    """Return the split labelled in the model's classes; DataError when it has a class the model lacks."""
    names = class_names(model)
    return split.aligned(names, tuple(range(len(names))))
