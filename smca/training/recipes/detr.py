"""DETR's rows of the paper's main table, one function each, with DETR's own settings: 100 queries, softmax, 500 epochs
with the drop at 400. Their AP is what the paper repeats from DETR's. DC5: the last stage dilated, stride 16.
"""

from __future__ import annotations

from typing import Any

from smca.training.recipe import Optimisation, Recipe
from smca.training.recipes.rows import SINGLE_SCALE, paper_row

PLAN = Optimisation(epochs=500, batch=16)
MODEL: dict[str, Any] = {
    **SINGLE_SCALE,
    "modulation": "none",
    "box_prior": False,
    "num_queries": 100,
    "class_loss": "softmax",
    "class_weight": 1.0,
}


def detr_r50() -> Recipe:
    """DETR-R50 (500 epochs): 42.0 AP by the paper; 8 x V100, hours: 238 computed; `smca train DATA --recipe detr-r50`.
    In the paper 86 GFLOPs and 41 M parameters.
    """
    details = "DETR; AP50 62.4, AP75 44.2, S 20.5, M 45.8, L 61.1"
    return paper_row("detr-r50", "DETR-R50", 42.0, details, MODEL, gmacs=81, plan=PLAN)


def detr_dc5_r50() -> Recipe:
    """DETR-DC5-R50 (500 epochs): 43.3 AP by the paper; 8 x V100, hours: 508 computed;
    `smca train DATA --recipe detr-dc5-r50`.
    In the paper 187 GFLOPs and 41 M parameters.
    """
    model, details = {**MODEL, "dilation": True}, "DETR, stride 16; AP50 63.1, AP75 45.9, S 22.5, M 47.3, L 61.1"
    return paper_row("detr-dc5-r50", "DETR-DC5-R50", 43.3, details, model, gmacs=173, plan=PLAN)


def detr_r101() -> Recipe:
    """DETR-R101 (500 epochs): 43.5 AP by the paper; 8 x V100, hours: 425 computed;
    `smca train DATA --recipe detr-r101`.
    In the paper 152 GFLOPs and 60 M parameters.
    """
    model, details = {**MODEL, "backbone": "resnet101"}, "DETR; AP50 63.8, AP75 46.4, S 21.9, M 48.0, L 61.8"
    return paper_row("detr-r101", "DETR-R101", 43.5, details, model, gmacs=145, plan=PLAN)


def detr_dc5_r101() -> Recipe:
    """DETR-DC5-R101 (500 epochs): 44.9 AP by the paper; 8 x V100, hours: 695 computed;
    `smca train DATA --recipe detr-dc5-r101`.
    In the paper 253 GFLOPs and 60 M parameters.
    """
    model = {**MODEL, "backbone": "resnet101", "dilation": True}
    details = "DETR, stride 16; AP50 64.7, AP75 47.7, S 23.7, M 49.5, L 62.3"
    return paper_row("detr-dc5-r101", "DETR-DC5-R101", 44.9, details, model, gmacs=237, plan=PLAN)
