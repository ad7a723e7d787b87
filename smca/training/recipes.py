"""Every recipe, one function each: the paper's rows exactly, and small ones for small machines.

Numbers marked "the paper" were measured by its authors on COCO 2017 val, not here. Paper recipes start from ImageNet
weights and train on eight 32 GB GPUs or the same batch by accumulation.
"""

from __future__ import annotations

import dataclasses

from smca.data.transforms import Augmentation
from smca.errors import ConfigurationError, nearest
from smca.training.recipe import Optimisation, Origin, Recipe

PAPER = "the paper"
EIGHT_GPUS = "8 x V100"


def smca_r50() -> Recipe:
    """Paper: SMCA-R50, 50 epochs, 43.7 AP; 152 GFLOPs, 40 M parameters."""
    origin = Origin(
        "SMCA, multi-scale, R50", "SMCA-R50 (50 epochs)", 43.7, PAPER, EIGHT_GPUS, "not stated in the paper"
    )
    return Recipe("smca-r50", origin, {"attention_dropout": 0.1}, backbone_weights="imagenet")


def smca_r101() -> Recipe:
    """Paper: SMCA-R101, 50 epochs, 44.4 AP; 218 GFLOPs, 58 M parameters."""
    origin = Origin(
        "SMCA, multi-scale, R101", "SMCA-R101 (50 epochs)", 44.4, PAPER, EIGHT_GPUS, "not stated in the paper"
    )
    model = {"backbone": "resnet101", "attention_dropout": 0.1}
    return Recipe("smca-r101", origin, model, backbone_weights="imagenet")


def smca_r50_single_scale() -> Recipe:
    """Paper: single-scale SMCA-R50, 50 epochs, 41.0 AP; 86 GFLOPs, 42 M parameters."""
    origin = Origin(
        "SMCA on C5 alone, R50",
        "SMCA-R50, single-scale (50 epochs)",
        41.0,
        PAPER,
        EIGHT_GPUS,
        "not stated in the paper",
    )
    model = {"levels": ("c5",), "encoder": ("intra",) * 6, "ffn_dim": 2048, "attention_dropout": 0.1}
    return Recipe("smca-r50-single-scale", origin, model, backbone_weights="imagenet")


def detr_r50() -> Recipe:
    """Paper: DETR-R50, 500 epochs, 42.0 AP; 86 GFLOPs, 41 M parameters."""
    origin = Origin("DETR, R50", "DETR-R50 (500 epochs)", 42.0, PAPER, EIGHT_GPUS, "not stated in the paper")
    model = {
        **smca_r50_single_scale().model,
        "modulation": "none",
        "box_prior": False,
        "num_queries": 100,
        "class_loss": "softmax",
        "class_weight": 1.0,
    }
    plan = Optimisation(epochs=500, batch=16, micro_batch=8)
    return Recipe("detr-r50", origin, model, plan, backbone_weights="imagenet")


def smca_medium() -> Recipe:
    """Multi-scale SMCA on a timm backbone for one laptop GPU."""
    origin = Origin("SMCA, multi-scale, ResNet-18, short side 512", hardware="one laptop GPU (8 GB)")
    model = {
        "backbone": "timm/resnet18d",
        "d_model": 192,
        "ffn_dim": 768,
        "decoder_layers": 4,
        "num_queries": 200,
    }
    plan = Optimisation(epochs=50, batch=16, lr=2e-4, backbone_lr=2e-5, warmup=0.01, precision="bf16")
    return Recipe(
        "smca-medium", origin, model, plan, Augmentation.paper(512), "imagenet", image_size=512, long_side=853
    )


def smca_small() -> Recipe:
    """Multi-scale SMCA for a small data set on a laptop, from scratch or from a backbone's weights.

    Nearly one scale: boxes are relative to the image, so a network must learn every size anew at every scale. The
    encoder is the released code's, whose cost grows with the pixels and not with their square; later layers look from
    the boxes of earlier ones, without which small objects are framed too loosely.
    """
    origin = Origin("SMCA, multi-scale, re-centred, 2 CPU cores, real photos", hardware="2 CPU cores")
    model = {
        **smca_tiny().model,
        "encoder": ("depthwise", "depthwise"),
        "num_queries": 60,
        "bandwidth": 2.0,
        "recentre": True,
    }
    plan = dataclasses.replace(
        smca_tiny().optimisation, epochs=60, batch=2, lr=6.4e-4, backbone_lr=6.4e-4, warmup=0.03, crop_epochs=40.0
    )
    augmentation = Augmentation(
        short_sides=(320,),
        long_side=533,
        crop_resize=(320,),
        crop_smallest=269,
        crop_largest=426,
        crop=0.3,
        jitter=0.2,
    )
    return Recipe("smca-small", origin, model, plan, augmentation, image_size=320, long_side=533)


def smca_tiny() -> Recipe:
    """The full method, small enough for two CPU cores and minutes: three levels, intra and multi blocks, E2 to E9."""
    origin = Origin(
        "SMCA, multi-scale, minutes on 2 CPU cores", hardware="2 CPU cores", hours="0.1 on generated scenes"
    )
    model = {
        "backbone": "plain",
        "backbone_norm": "batch",
        "backbone_widths": (16, 32, 64, 128, 192),
        "backbone_blocks": (1, 1, 1),
        "frozen_stages": 0,
        "encoder": ("intra", "multi"),
        "encoder_heads": 2,
        "d_model": 96,
        "ffn_dim": 192,
        "decoder_layers": 3,
        "num_queries": 48,
        "dropout": 0.0,
        "pre_norm": True,
    }
    plan = Optimisation(
        epochs=3,
        batch=4,
        lr=9e-4,
        backbone_lr=9e-4,
        reference_factor=0.05,
        clip=1.0,
        schedule="cosine",
        warmup=0.05,
        crop_epochs=4.0,
        precision="bf16",
    )
    augmentation = Augmentation(short_sides=(320,), long_side=533, crop=0.0)
    return Recipe("smca-tiny", origin, model, plan, augmentation, image_size=320, long_side=533)


def detr_tiny() -> Recipe:
    """DETR in the size of smca-tiny: one level, no modulation, no box prior."""
    origin = Origin("DETR, 2 CPU cores", hardware="2 CPU cores")
    model = {**smca_tiny().model, "levels": ("c4",), "modulation": "none", "box_prior": False}
    return dataclasses.replace(smca_tiny(), name="detr-tiny", origin=origin, model=model)


def all_recipes() -> list[Recipe]:
    """Every recipe, the paper's first."""
    makers = (
        smca_r50, smca_r50_single_scale, smca_r101, detr_r50, smca_medium, smca_small, smca_tiny, detr_tiny,
    )  # fmt: skip
    return [make() for make in makers]


def find_recipe(name: str) -> Recipe:
    """The recipe of that name."""
    recipes = {recipe.name: recipe for recipe in all_recipes()}
    if name not in recipes:
        raise ConfigurationError(
            f"no recipe '{name}'.{nearest(name, recipes)} Known: {', '.join(recipes)}, or a YAML file"
        )
    return recipes[name]
