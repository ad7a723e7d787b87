"""An evaluation in full: what was found, the twelve numbers, and what lies behind them; for a page and for machines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from smca.evaluation.coco import CocoEvaluator, Summary
from smca.evaluation.diagnosis import BACKGROUND, ClassNumbers, Diagnosis, Outcome, diagnose
from smca.inference.loading import Processor
from smca.inference.predict import threshold_of

WORST, BEST = 8, 4  # images that are named and shown


@dataclass(frozen=True)
class Examination:
    """What a model found in a split; `data` is what the user called the data."""

    model: PreTrainedModel
    processor: Processor
    data: Path
    evaluator: CocoEvaluator
    summary: Summary
    diagnosis: Diagnosis

    @property
    def folder(self) -> Path:
        """Where the model lies."""
        return Path(self.model.name_or_path or ".").resolve()

    @property
    def name(self) -> str:
        """What to call the model: the last two parts of its folder."""
        return "/".join(self.folder.parts[-2:]) if self.model.name_or_path else type(self.model).__name__

    @classmethod
    def of(cls, model: PreTrainedModel, processor: Processor, data: Path, evaluator: CocoEvaluator) -> Examination:
        """Count what an evaluator collected, at the model's own threshold."""
        return cls(model, processor, data, evaluator, evaluator.summary(), diagnose(evaluator, threshold_of(model)))

    def to_json(self) -> dict[str, Any]:
        """All numbers of the page; the twelve under COCO's names, fractions, null where undefined."""
        diagnosis = self.diagnosis
        names = self.evaluator.split.class_names
        return {
            **self.summary,
            "threshold": diagnosis.threshold,
            "at_threshold": diagnosis.here._asdict(),
            "over_threshold": [point._asdict() for point in diagnosis.curve],
            "classes": {one.name: _class_json(one) for one in diagnosis.classes},
            "precision_over_recall": {
                name: None if np.isnan(row).any() else row.tolist()
                for name, row in zip(names, diagnosis.precision, strict=True)
            },
            "confusion": {"names": [*names, BACKGROUND], "matrix": diagnosis.confusion.tolist()},
            "errors": {kind: {"shown": count, "AP50_cost": cost} for kind, (count, cost) in diagnosis.errors.items()},
            "sizes": {
                size: {"objects": objects, "found": found} for size, (objects, found) in diagnosis.found_by_size.items()
            },
            "worst_images": [self._image_json(one) for one in diagnosis.worst(WORST)],
            "best_images": [self._image_json(one) for one in diagnosis.best(BEST)],
        }

    def _image_json(self, one: Outcome) -> dict[str, Any]:
        counts = {name: getattr(one, name) for name in ("hits", "missed", "false_alarms", "f1")}
        return {"image": str(self.evaluator.split.records[one.record].path), **counts}


def _class_json(one: ClassNumbers) -> dict[str, Any]:
    best = None if one.best is None else one.best._asdict()
    return {"AP": one.ap, "AP50": one.ap50, "objects": one.objects, "best_f1": best}
