"""Recipes of ours for small machines; `docs/results` has what was measured with them.

Two things that the paper has not make the smallest learn in minutes (log.md, eighth session): decoder layers that look
again from the box of the one before, and a second group of queries that learns beside the one that predicts.
"""

from __future__ import annotations

import dataclasses

from smca.data.transforms import Augmentation
from smca.training.recipe import Optimisation, Origin, Recipe


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
    encoder is the released code's, whose cost grows with the pixels and not with their square.
    """
    origin = Origin("SMCA, multi-scale, re-centred, 2 CPU cores, real photos", hardware="2 CPU cores")
    model = {
        **smca_tiny().model,
        "encoder": ("depthwise", "depthwise"),
        "num_queries": 60,
        "bandwidth": 2.0,
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
    does, machine = "SMCA, multi-scale, re-centred, minutes on 2 CPU cores", "2 CPU cores"
    origin = Origin(does, hardware=machine, hours="0.1 on generated scenes")
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
        "query_groups": 2,
        "recentre": True,
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
    one = {"levels": ("c4",), "modulation": "none", "box_prior": False, "recentre": False, "query_groups": 1}
    model = {**smca_tiny().model, **one}
    return dataclasses.replace(smca_tiny(), name="detr-tiny", origin=origin, model=model)
