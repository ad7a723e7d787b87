"""COCO evaluation: how good a detector's boxes are on a split of a data set."""

from __future__ import annotations

from smca.evaluation.coco import CocoEvaluator, Summary
from smca.evaluation.loop import collect

__all__ = ["CocoEvaluator", "Summary", "collect"]
