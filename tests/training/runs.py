"""Runs small enough for tests: a model of a few thousand weights on pictures of 64 pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from smca.training.request import TrainRequest

SMALL = (
    "backbone_widths=[4,8,8,8,8]",
    "backbone_norm=layer",
    "encoder=[intra,multi]",
    "d_model=16",
    "num_heads=2",
    "ffn_dim=16",
    "decoder_layers=2",
    "num_queries=14",
    "crop_epochs=0",
)


def small_request(data: Path, out: Path, *overrides: str, **options: Any) -> TrainRequest:
    """Two epochs of two updates each on the scenes of conftest; later overrides win."""
    fixed: dict[str, Any] = {
        "epochs": 2,
        "batch": 4,
        "image_size": 64,
        "workers": 0,
        "device": "cpu",
        "precision": "fp32",
    }
    fixed |= options
    return TrainRequest(data=data, recipe="smca-tiny", out=out, overrides=(*SMALL, *overrides), **fixed)
