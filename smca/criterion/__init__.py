"""Matching and losses (paper E10): what a predicted set of boxes is worth. Reads nothing but tensors."""

from __future__ import annotations

from smca.criterion.losses import LossKind, LossWeights, SetCriterion, mean_boxes
from smca.criterion.matching import MatchingCosts

__all__ = ["LossKind", "LossWeights", "MatchingCosts", "SetCriterion", "mean_boxes"]
