"""A very small model of random weights."""

from __future__ import annotations

from pathlib import Path

import torch

from smca.modeling.configuration import SmcaConfig
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.image_processing import SmcaImageProcessor


def save_small_model(folder: Path, names: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    config = SmcaConfig(
        backbone="plain",
        backbone_widths=(8, 8, 16, 16, 16),
        backbone_blocks=(1, 1, 1),
        d_model=32,
        num_heads=4,
        ffn_dim=32,
        decoder_layers=2,
        num_queries=12,
        id2label=dict(enumerate(names)),
        label2id={name: label for label, name in enumerate(names)},
    )
    SmcaForObjectDetection(config).save_pretrained(folder)
    SmcaImageProcessor(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)
