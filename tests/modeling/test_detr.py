"""Without modulation and box prior the model *is* DETR: the same weights give what transformers' DETR gives."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn
from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig

from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.geometry import BatchSizes
from tests.modeling.tiny import SMALL, padded_batch, picture, stirred_model

RENAMED = [
    (r"^input_projection\.projections\.0\.", "input_projection."),
    (r"^decoder\.query_position\.", "query_position_embeddings."),
    (r"^encoder\.blocks\.(\d+)\.(query|key|value|output)\.0\.", r"encoder.layers.\1.self_attn.\2."),
    (r"^encoder\.blocks\.(\d+)\.norm1\.0\.", r"encoder.layers.\1.self_attn_layer_norm."),
    (r"^encoder\.blocks\.(\d+)\.norm2\.0\.", r"encoder.layers.\1.final_layer_norm."),
    (r"^encoder\.blocks\.(\d+)\.ffn\.0\.", r"encoder.layers.\1.ffn."),
    (r"\.self_attention\.", ".self_attn."),
    (r"\.co_attention\.", ".encoder_attn."),
    (r"(self_attn|encoder_attn)\.(query|key|value|output)\.", lambda m: f"{m[1]}.{m[2][0]}_proj."),
    (r"(decoder.*)\.norm1\.", r"\1.self_attn_layer_norm."),
    (r"(decoder.*)\.norm2\.", r"\1.encoder_attn_layer_norm."),
    (r"(decoder.*)\.norm3\.", r"\1.final_layer_norm."),
    (r"^decoder\.norm\.", "decoder.layernorm."),
    (r"\.ffn\.0\.", ".mlp.fc1."),
    (r"\.ffn\.3\.", ".mlp.fc2."),
]
HEADS = {"class_head.": "class_labels_classifier.", "box_head.mlp.0.": "bbox_predictor.layers.0."}
HEADS |= {"box_head.mlp.2.": "bbox_predictor.layers.1.", "box_head.mlp.4.": "bbox_predictor.layers.2."}


def their_name(name: str) -> str:
    for ours, theirs in HEADS.items():
        if name.startswith(ours):
            return name.replace(ours, theirs)
    for pattern, theirs in RENAMED:
        name = re.sub(pattern, theirs, name)
    return f"model.{name}"


def their_weights(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """Queries and keys are projected by one of our matrices and by two of theirs."""
    apart: dict[str, Tensor] = {}
    for name, value in ours.items():
        if "query_key" in name:
            for part, half in zip(("query", "key"), value.chunk(2), strict=True):
                apart[name.replace("query_key", part)] = half
        else:
            apart[name] = value
    return {their_name(name): value for name, value in apart.items()}


COUNTS = {"layers": 2, "attention_heads": 2, "ffn_dim": 16}


class OurMaps(nn.Module):
    """Our backbone in the place of theirs: C5 and its mask."""

    def __init__(self, model: SmcaForObjectDetection) -> None:
        super().__init__()
        self.ours = model

    def forward(self, pixel_values: Tensor, pixel_mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        sizes = BatchSizes.of_mask(pixel_mask)
        c5 = self.ours.backbone(pixel_values, sizes)["c5"]
        return [(c5, sizes.cells(32).mask(*c5.shape[-2:]))]


def transformers_detr(ours: SmcaForObjectDetection) -> DetrForObjectDetection:
    backbone = ResNetConfig.from_dict({"hidden_sizes": [8], "depths": [1], "embedding_size": 8})
    counts = {f"{part}_{what}": n for part in ("encoder", "decoder") for what, n in COUNTS.items()}
    sizes = {"d_model": SMALL["d_model"], "num_queries": 6, "num_labels": 3, "dropout": 0.0}
    config = DetrConfig.from_dict({"backbone_config": backbone, **sizes, **counts})
    theirs = DetrForObjectDetection(config)
    body = {name: value for name, value in ours.state_dict().items() if not name.startswith("backbone.")}
    missing, unexpected = theirs.load_state_dict(their_weights(body), strict=False)
    assert unexpected == []
    assert all(name.startswith("model.backbone.") for name in missing)
    theirs.model.backbone = OurMaps(ours)
    return theirs.double().eval()


@pytest.mark.parametrize("sizes", [[(96, 128)], [(96, 128), (64, 160)]], ids=["one image", "padded batch"])
@torch.no_grad()
def test_it_gives_what_transformers_detr_gives(sizes: list[tuple[int, int]]) -> None:
    ours = stirred_model(
        modulation="none",
        box_prior=False,
        query_norm=False,
        levels=("c5",),
        encoder=("intra", "intra"),
        class_loss="softmax",
    ).double()
    theirs = transformers_detr(ours)
    pixels, mask = padded_batch([picture(*size, seed=index).double() for index, size in enumerate(sizes)])
    found, wanted = ours(pixels, mask), theirs(pixels, mask)
    torch.testing.assert_close(found.logits, wanted.logits, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.pred_boxes, wanted.pred_boxes, rtol=0, atol=1e-6)
