"""The recipe of `smca train DATA --init MODEL`: the MODEL's own network and size, and a short, careful schedule.

For small data: learning rates a fraction of training from nothing, an average of the weights, an end when AP no longer
grows, colours and sizes varied.
"""

from __future__ import annotations

from typing import cast

from transformers import PreTrainedModel

from smca.data.transforms import Augmentation
from smca.inference.loading import processor_of
from smca.modeling.configuration import SmcaConfig
from smca.modeling.image_processing import SmcaImageProcessor
from smca.training.recipe import Optimisation, Origin, Recipe, switches_of

PLAN = Optimisation(
    epochs=40,
    batch=4,
    lr=2e-4,
    backbone_lr=1e-4,
    reference_factor=0.1,
    clip=1.0,
    schedule="cosine",
    warmup=0.05,
    averaging=0.998,
    patience=10,
)


def fine_tuning(model: PreTrainedModel) -> Recipe:
    """The recipe for a model to begin with."""
    size = cast(SmcaImageProcessor, processor_of(model)).size
    short, long = size["shortest_edge"], size["longest_edge"]
    augmentation = Augmentation(
        short_sides=(round(short * 0.9), short),
        long_side=long,
        crop_resize=(short,),
        crop_smallest=round(short * 0.8),
        crop_largest=round(short * 1.3),
        crop=0.3,
        jitter=0.2,
    )
    return Recipe(
        "fine-tuning",
        Origin("the network of --init, on small data"),
        switches_of(cast(SmcaConfig, model.config)),
        PLAN,
        augmentation,
        image_size=short,
        long_side=long,
        model_type=model.config.model_type,
    )
