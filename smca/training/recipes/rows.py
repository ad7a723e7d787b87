"""What all rows of the paper's tables have in common: their settings, whose number they repeat, hours on its hardware.

    hours = 3 (forward and backward) x 2 x GMACs x 118,287 images x epochs / (8 GPUs x 4.2e12 operations a second)

The rate is what a V100 kept up in the authors' own trainings on eight: 28 minutes an epoch of DETR-R50 (README of
facebookresearch/detr), 30 of single-scale SMCA (README of gaopengcuhk/SMCA-DETR). GMACs are of one image of 800x1066,
as `smca info` counts them. What a row does not say (batch 8, AdamW, steps, augmentation) is Optimisation's and
Augmentation.paper's default; weights start from ImageNet's. Eight GPUs make the batch, or fewer by accumulation.
"""

from __future__ import annotations

from typing import Any

from smca.training.recipe import Optimisation, Origin, Recipe

PAPER = "the paper"
RECALLED = "the paper (recalled)"  # a number that nobody here could confirm
AUTHORS = "the authors"  # beside their public code, not in the paper
EIGHT_GPUS = "8 x V100"

IMAGES = 118_287
OPERATIONS_PER_SECOND = 8 * 4.2e12

MULTI_SCALE: dict[str, Any] = {"attention_dropout": 0.1}
SINGLE_SCALE: dict[str, Any] = {
    "levels": ("c5",),
    "encoder": ("intra",) * 6,
    "ffn_dim": 2048,
    "attention_dropout": 0.1,
}
FIFTY = Optimisation()
LONGER = Optimisation(epochs=108, drop_at=80 / 108)  # the drop at 80 is recalled, not confirmed


def hours(gmacs: float, epochs: int) -> float:
    """Hours of training on COCO's train2017 with the paper's hardware."""
    return 3 * 2 * gmacs * 1e9 * IMAGES * epochs / OPERATIONS_PER_SECOND / 3600


def paper_row(
    name: str,
    row: str,
    ap: float | None,
    description: str,
    model: dict[str, Any],
    gmacs: float,
    plan: Optimisation = FIFTY,
    by: str = PAPER,
) -> Recipe:
    """The recipe of a row; `ap` was measured on COCO's val2017 by `by`, not here."""
    origin = Origin(
        description,
        paper_row=f"{row} ({plan.epochs} epochs)",
        expected_ap=ap,
        measured_by="-" if ap is None else by,
        hardware=EIGHT_GPUS,
        hours=f"{hours(gmacs, plan.epochs):.0f} computed",
    )
    return Recipe(name, origin, model, plan, backbone_weights="imagenet")
