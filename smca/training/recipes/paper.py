"""SMCA's rows of the paper's main table, one function each, and what its authors published after it."""

from __future__ import annotations

from smca.interchange import layout
from smca.training.recipe import Optimisation, Recipe
from smca.training.recipes.rows import AUTHORS, LONGER, MULTI_SCALE, SINGLE_SCALE, paper_row

RESNET101 = {**MULTI_SCALE, "backbone": "resnet101"}
RELEASED = {**MULTI_SCALE, **layout.MULTI_SCALE, **layout.RELEASED, "encoder": ("depthwise",) * 6}


def smca_r50() -> Recipe:
    """SMCA-R50 (50 epochs): 43.7 AP by the paper; 8 x V100, hours: 39 computed; `smca train DATA --recipe smca-r50`.
    In the paper 152 GFLOPs and 40 M parameters; also its ablation rows "2 Intra, Multi, 2 Intra" and "all shared".
    """
    details = "multi-scale; AP50 63.6, AP75 47.2, S 24.2, M 47.0, L 60.4"
    return paper_row("smca-r50", "SMCA-R50", 43.7, details, MULTI_SCALE, gmacs=134)


def smca_r50_108() -> Recipe:
    """SMCA-R50 (108 epochs): 45.6 AP by the paper; 8 x V100, hours: 85 computed;
    `smca train DATA --recipe smca-r50-108`.
    """
    details = "multi-scale; AP50 65.5, AP75 49.1, S 25.9, M 49.3, L 62.6"
    return paper_row("smca-r50-108", "SMCA-R50", 45.6, details, MULTI_SCALE, gmacs=134, plan=LONGER)


def smca_r101() -> Recipe:
    """SMCA-R101 (50 epochs): 44.4 AP by the paper; 8 x V100, hours: 58 computed; `smca train DATA --recipe smca-r101`.
    In the paper 218 GFLOPs and 58 M parameters.
    """
    details = "multi-scale; AP50 65.2, AP75 48.0, S 24.3, M 48.5, L 61.0"
    return paper_row("smca-r101", "SMCA-R101", 44.4, details, RESNET101, gmacs=198)


def smca_r101_108() -> Recipe:
    """SMCA-R101 (108 epochs): 46.3 AP by the paper; 8 x V100, hours: 125 computed;
    `smca train DATA --recipe smca-r101-108`.
    """
    details = "multi-scale; AP50 66.6, AP75 50.2, S 27.2, M 50.5, L 63.2"
    return paper_row("smca-r101-108", "SMCA-R101", 46.3, details, RESNET101, gmacs=198, plan=LONGER)


def smca_r50_single_scale() -> Recipe:
    """SMCA-R50, single-scale (50 epochs): 41.0 AP by the paper; 8 x V100, hours: 25 computed;
    `smca train DATA --recipe smca-r50-single-scale`.
    In the paper 86 GFLOPs and 42 M parameters; also its ablation row "multi-head, independent scale".
    """
    details = "C5 alone; S 21.9, M 44.3, L 59.1"
    return paper_row("smca-r50-single-scale", "SMCA-R50, single-scale", 41.0, details, SINGLE_SCALE, gmacs=84)


def smca_r50_single_scale_108() -> Recipe:
    """SMCA-R50, single-scale (108 epochs): 42.7 AP by the paper; 8 x V100, hours: 53 computed;
    `smca train DATA --recipe smca-r50-single-scale-108`.
    """
    details = "C5 alone; S 22.8, M 46.1, L 60.0"
    return paper_row(
        "smca-r50-single-scale-108", "SMCA-R50, single-scale", 42.7, details, SINGLE_SCALE, gmacs=84, plan=LONGER
    )


def smca_r50_single_scale_250() -> Recipe:
    """SMCA-R50, single-scale (250 epochs): 43.5 AP by the authors; 8 x V100, hours: 123 computed;
    `smca train DATA --recipe smca-r50-single-scale-250`.
    Not in the paper; they do not say where the learning rate drops: here at 200.
    """
    plan, details = Optimisation(epochs=250), "C5 alone"
    return paper_row(
        "smca-r50-single-scale-250",
        "SMCA-R50, single-scale",
        43.5,
        details,
        SINGLE_SCALE,
        gmacs=84,
        plan=plan,
        by=AUTHORS,
    )


def smca_r50_released() -> Recipe:
    """SMCA-R50, released multi-scale (50 epochs): 44.4 AP by the authors; 8 x V100, hours: 49 computed;
    `smca train DATA --recipe smca-r50-released`.
    Not in the paper: C3 to C6, convolutions for an encoder. AP after epoch 1/2/3/5/10/20/40/41/50 was
    9.4/14.6/18.5/24.2/30.6/35.2/39.4/43.2/44.4.
    """
    details = "the authors' depthwise encoder; AP 24.2 after epoch 5, 30.6 after 10, 39.4 after 40"
    row = "SMCA-R50, released multi-scale"
    return paper_row("smca-r50-released", row, 44.4, details, RELEASED, gmacs=166, by=AUTHORS)


def smca_r101_released() -> Recipe:
    """SMCA-R101, released multi-scale (50 epochs): 45.7 AP by the authors; 8 x V100, hours: 67 computed;
    `smca train DATA --recipe smca-r101-released`.
    Not in the paper.
    """
    model, row = {**RELEASED, "backbone": "resnet101"}, "SMCA-R101, released multi-scale"
    return paper_row("smca-r101-released", row, 45.7, "the authors' depthwise encoder", model, gmacs=229, by=AUTHORS)
