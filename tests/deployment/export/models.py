"""Tiny model folders whose weights are all their own, one a family that the graph must hold for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from smca.modeling.image_processing import SmcaImageProcessor
from tests.modeling.tiny import stirred_model

NAMES = {0: "zelle", 1: "größe", 2: 'a "quoted" name'}
SIZE = {"shortest_edge": 96, "longest_edge": 160}
SHORT: dict[str, Any] = {"encoder": ("intra",), "decoder_layers": 1, "levels": ("c4", "c5"), "backbone_norm": "batch"}


def save_model(folder: Path, **switches: Any) -> Path:
    model = stirred_model(id2label=NAMES, threshold=0.3, **{**SHORT, **switches})
    torch.nn.init.normal_(model.class_head.bias)
    model.save_pretrained(folder)
    SmcaImageProcessor.suited_to(model.config, SIZE).save_pretrained(folder)
    return folder
