"""One graph for any batch and any size, equal to the model, for every family of switches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from smca.comparison.peers.configuration import PeerConfig
from smca.comparison.peers.model import PeerForObjectDetection
from smca.deployment.export.graph import load_for_export, record, sides_of
from smca.errors import ModelError
from smca.inference.exported import fitted
from smca.inference.loading import load
from smca.modeling.image_processing import SmcaImageProcessor
from tests.deployment.export.models import save_model
from tests.modeling.tiny import padded_batch, picture

SIZES = ([(70, 130)], [(96, 64), (64, 96), (41, 33)], [(129, 65), (129, 65)], [(3, 50)])
FAMILIES: dict[str, dict[str, Any]] = {
    "smca": {"levels": ("c4", "c5", "c6"), "encoder": ("intra", "multi"), "decoder_layers": 2, "recentre": True},
    "detr": {"modulation": "none", "box_prior": False, "levels": ("c5",), "class_loss": "softmax", "dilation": True},
    "depthwise": {"encoder": ("depthwise",), "levels": ("c3", "c4", "c5"), "halve_finest": True, "pre_norm": True},
    "explicit": {"modulation": "head-shared", "spread": "product", "levels": ("c4",), "backbone_norm": "layer"},
    "same padding": {"backbone": "timm/tf_efficientnet_lite0", "levels": ("c4", "c5")},
}


@pytest.mark.slow
@pytest.mark.parametrize("switches", FAMILIES.values(), ids=FAMILIES)
def test_any_batch_and_size_equals_the_model(switches: dict[str, Any], tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", **switches)
    model = load_for_export(folder)
    sides = sides_of(model)
    graph = record(model, sides).module(check_guards=False)
    exact = load(folder, "cpu")
    assert sides.multiple == (32 if "tf_" in str(switches) else 1)
    for sizes in SIZES:
        pixels, mask = padded_batch([picture(*size, seed=i) for i, size in enumerate(sizes)])
        with torch.no_grad():
            wanted = exact(pixel_values=pixels, pixel_mask=mask)
            logits, boxes = graph(*fitted(pixels, mask, sides))
        tolerance = 1e-4 if sides.multiple == 1 else 1e-2  # a deep network of noise: float64 differs from both as much
        torch.testing.assert_close(logits, wanted.logits, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(boxes, wanted.pred_boxes, rtol=tolerance, atol=tolerance)


@pytest.mark.slow
def test_a_network_that_mixes_all_cells_takes_images_of_one_size(tmp_path: Path) -> None:
    model = load_for_export(save_model(tmp_path / "model", backbone="timm/efficientnet_b0", levels=("c5",)))
    sides = sides_of(model)
    assert sides.one_size
    graph = record(model, sides).module(check_guards=False)
    pixels = torch.stack([picture(64, 96, seed) for seed in range(3)])
    with torch.no_grad():
        together = graph(*fitted(pixels, None, sides))
        alone = [graph(*fitted(one[None], None, sides)) for one in pixels]
    for index in (0, 1):
        torch.testing.assert_close(together[index], torch.cat([one[index] for one in alone]), rtol=1e-4, atol=1e-4)


def test_a_peer_is_refused_by_name(tmp_path: Path) -> None:
    small = {"backbone": "plain", "backbone_widths": (4, 8, 8, 8, 8), "backbone_blocks": (0, 0, 0), "num_queries": 4}
    config = PeerConfig(peer="conditional-detr", d_model=16, num_heads=2, ffn_dim=16, decoder_layers=1, **small)
    PeerForObjectDetection(config).save_pretrained(tmp_path)
    SmcaImageProcessor.suited_to(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"is a 'conditional-detr', .* allowed: smca, detr"):
        load_for_export(tmp_path)
