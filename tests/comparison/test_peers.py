"""Every peer behind the common door: learns, is saved and loaded, and predicts an image the same in any batch."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoBackbone, AutoModelForObjectDetection, ConditionalDetrForObjectDetection

import smca
from smca.comparison.peers.backbone import SharedBackboneConfig
from smca.comparison.peers.configuration import PeerConfig
from smca.comparison.peers.model import PeerForObjectDetection
from smca.comparison.peers.peer import Found, as_predictions
from smca.comparison.peers.real_time import to_multiple
from smca.errors import ConfigurationError, DeviceError
from smca.inference.saving import save_model
from smca.modeling.image_processing import SmcaImageProcessor
from smca.sizes import ImageSize
from smca.training.detector import new_detector
from smca.training.recipes.contestants import PEERS, contestant
from tests.comparison.peers import NAMES, batch, labels, small_peer

EVERY = pytest.mark.parametrize("name", NAMES)
SIZES = st.tuples(st.integers(1, 120), st.integers(1, 120))


@torch.no_grad()
def seen(model: PeerForObjectDetection, pixels: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scores and boxes side by side [B, N, K + 4]."""
    output = model(pixels, mask)
    return torch.cat([output.logits.sigmoid(), output.pred_boxes], dim=-1)


@EVERY
@settings(max_examples=5, deadline=None)
@given(own=SIZES, companion=SIZES, twins=st.integers(0, 2))
@example(own=(7, 117), companion=(1, 1), twins=1)  # rounding, and Faster R-CNN suppressed another box
def test_a_prediction_does_not_depend_on_its_batch(
    name: str, own: tuple[int, int], companion: tuple[int, int], twins: int
) -> None:
    """With companions of its own size, too."""
    model = small_peer(name)
    pixels, mask = batch(own, companion, *[own] * twins)
    alone = seen(model, pixels[:1, :, : own[0], : own[1]])
    assert torch.allclose(seen(model, pixels, mask)[:1], alone, atol=1e-4)


@EVERY
def test_a_peer_learns_from_every_image_of_a_batch(name: str) -> None:
    model = small_peer(name).train()
    pixels, mask = batch((64, 96), (96, 64), (64, 96))
    targets = labels(2, 0, 3)
    torch.manual_seed(0)
    loss = model(pixels, mask, targets).loss
    loss.backward()
    assert loss.isfinite()
    grown = [p.grad for n, p in model.named_parameters() if p.grad is not None]
    assert all(grad.isfinite().all() for grad in grown)
    unread = {n for n, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert all(".stages.4." in n or "box_head" in n for n in unread)
    torch.manual_seed(0)
    more = model(pixels, mask, targets, num_boxes=torch.tensor(50.0)).loss
    assert more == loss if name in ("fcos", "faster-rcnn") else more < loss  # theirs are means over what they sampled


@EVERY
def test_a_batch_without_boxes_is_learned_from(name: str) -> None:
    model = small_peer(name).train()
    loss = model(batch((64, 64))[0], labels=labels(0)).loss
    loss.backward()
    assert loss.isfinite()


@EVERY
def test_saved_and_loaded_it_predicts_the_same(name: str, tmp_path: Path) -> None:
    model = small_peer(name)
    save_model(
        model, SmcaImageProcessor.suited_to(model.config, {"shortest_edge": 64, "longest_edge": 96}), tmp_path / "m"
    )
    loaded = smca.load(tmp_path / "m")
    pixels, mask = batch((64, 96), (50, 40))
    assert isinstance(loaded, PeerForObjectDetection)
    assert torch.allclose(seen(loaded, pixels, mask), seen(model, pixels, mask), atol=1e-5)
    (found,) = loaded.predict([torch.randint(0, 255, (80, 60, 3), dtype=torch.uint8).numpy()], threshold=0.0)
    assert set(found.names) <= {"a", "b", "c"}
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [60, 80, 60, 80]).all()
    with pytest.raises(ConfigurationError, match="is not compiled"):
        smca.load(tmp_path / "m", compile=True)
    with pytest.raises(DeviceError, match="fp32"):
        smca.load(tmp_path / "m", precision="bf16")


def test_tied_weights_stay_tied_after_loading(tmp_path: Path) -> None:
    model = small_peer("rt-detr-v2")
    model.save_pretrained(tmp_path)
    network = AutoModelForObjectDetection.from_pretrained(tmp_path).peer.network
    assert network.class_embed[0].weight is network.model.decoder.class_embed[0].weight


def test_all_start_from_the_same_backbone_and_fair_values() -> None:
    """Where transformers' own values would lose: norms that train, class prior, zero last box layer, spread queries."""
    model = small_peer("conditional-detr")
    network = model.peer.network
    assert isinstance(network, ConditionalDetrForObjectDetection)
    norms = [part for part in model.backbone.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert norms
    assert all(norm.weight.requires_grad for norm in norms)
    assert network.class_labels_classifier.bias.detach().sigmoid().allclose(torch.tensor(0.01))
    assert network.get_parameter("bbox_predictor.layers.2.weight").abs().max() == 0
    assert network.model.query_position_embeddings.weight.detach().std() == pytest.approx(1, abs=0.2)
    first = network.model.encoder.layers[0]
    assert float(next(p for n, p in first.named_parameters() if n.endswith("fc1.weight")).abs().max()) > 0.1
    boxes = small_peer("dab-detr").get_parameter("peer.network.model.query_refpoint_embeddings.weight").sigmoid()
    assert boxes[:, :2].std(dim=0).min() > 0.2
    shapes = [[tuple(p.shape) for p in small_peer(name).backbone.body.parameters()] for name in NAMES]
    longest = max(shapes, key=len)
    assert all(shape == longest[: len(shape)] for shape in shapes)


def test_the_backbone_is_one_of_transformers_own() -> None:
    config = PeerConfig(**contestant("deformable-detr", "tiny").model)
    backbone = AutoBackbone.from_config(SharedBackboneConfig.of(config))
    maps = backbone(torch.randn(1, 3, 70, 101)).feature_maps
    assert [one.shape[-2:] for one in maps] == [(9, 13), (5, 7), (3, 4)]
    assert backbone.channels == [one.shape[1] for one in maps]


def test_lists_of_detections_become_predictions() -> None:
    boxes = torch.tensor([[0.0, 0.0, 10.0, 20.0], [5.0, 5.0, 10.0, 10.0]])
    found = Found(boxes, torch.tensor([0.3, 0.9]), torch.tensor([2, 0]))
    logits, framed = (part[0, 0] for part in as_predictions([found], ImageSize(height=20, width=10), 3, most=4))
    assert logits[0, 0].sigmoid() == pytest.approx(0.9)
    assert framed[1].tolist() == [0.5, 0.5, 1.0, 1.0]
    assert (logits[2:].sigmoid() == 0).all()
    assert logits.isfinite().all()


def test_sides_become_multiples_of_32() -> None:
    padded, scale = to_multiple(torch.ones(1, 3, 40, 64))
    assert padded.shape == (1, 3, 64, 64)
    assert scale.tolist() == [1, 40 / 64, 1, 40 / 64]
    assert padded[:, :, 40:].abs().sum() == 0


@pytest.mark.parametrize("name", PEERS)
def test_recipes_of_the_paper_s_size_build(name: str) -> None:
    recipe = contestant(name, "r50")
    model = new_detector(recipe.config())
    assert isinstance(model, PeerForObjectDetection)
    assert 20e6 < model.num_parameters() < 70e6
    frozen = [p for p in model.backbone.parameters() if not p.requires_grad]
    assert math.isclose(sum(p.numel() for p in frozen), 225_344, rel_tol=0.1)
