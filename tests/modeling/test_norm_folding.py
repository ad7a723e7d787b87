"""Norms folded into convolutions: the same maps, of every kind of backbone, whatever happens to the weights between."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from smca.modeling.backbone import Backbone
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.fused_blocks import ConvolutionReLU, FusedBlock, with_fused_blocks
from smca.modeling.geometry import BatchSizes
from smca.modeling.norm_folding import Norm, folded, norms_behind_convolutions
from tests.modeling.tiny import padded_batch, picture, small_config, small_model, stir, stirred_model

BACKBONES: list[dict[str, Any]] = [
    {"backbone": "plain", "backbone_norm": "batch"},
    {"backbone": "plain", "backbone_norm": "frozen"},
    {"backbone": "resnet18", "backbone_norm": "frozen"},
    {"backbone": "resnet18", "backbone_norm": "batch", "dilation": False},
    {"backbone": "timm/tf_efficientnet_lite0", "backbone_norm": "batch"},
    {"backbone": "timm/efficientnet_b0", "backbone_norm": "batch"},
    {"backbone": "timm/resnet18d", "backbone_norm": "frozen"},
]


def backbone_of(switches: dict[str, Any]) -> Backbone:
    torch.manual_seed(0)
    backbone = stir(Backbone(small_config(**switches))).eval()
    for module in backbone.modules():
        variance = getattr(module, "running_var", None)
        if isinstance(variance, Tensor):
            variance.uniform_(0.5, 2)
    return backbone


@pytest.mark.parametrize("switches", BACKBONES, ids=lambda switches: "-".join(map(str, switches.values())))
@torch.no_grad()
def test_every_norm_is_folded_and_a_padded_batch_gives_the_same_maps(switches: dict[str, Any]) -> None:
    backbone = backbone_of(switches)
    pixels, _ = padded_batch([picture(96, 70), picture(64, 128)], fill=3.0)
    sizes = BatchSizes(height=torch.tensor([96, 64]), width=torch.tensor([70, 128]))
    if backbone.multiple > 1:
        pixels = F.pad(pixels, (0, -pixels.shape[3] % 64, 0, -pixels.shape[2] % 64))
    before = backbone(pixels, sizes)
    names = list(backbone.state_dict())
    backbone.fold_norms()
    after = backbone(pixels, sizes)
    for level in before:
        torch.testing.assert_close(after[level], before[level], rtol=1e-4, atol=2e-4 * float(before[level].abs().max()))
    assert list(backbone.state_dict()) == names
    assert not any(isinstance(module, Norm) for module in folded(backbone.body).modules())


@pytest.mark.parametrize(
    ("name", "blocks", "alone"), [("resnet18", 8, 1), ("resnet50", 16, 1), ("timm/resnet18d", 8, 2)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@torch.no_grad()
def test_activations_and_sums_are_computed_in_convolutions(
    name: str, blocks: int, alone: int, dtype: torch.dtype
) -> None:
    backbone = backbone_of({"backbone": name, "backbone_norm": "batch"})
    simple = folded(backbone.body).to(dtype)
    fused = with_fused_blocks(folded(backbone.body)).to(dtype)
    found = [module for module in fused.modules() if isinstance(module, FusedBlock)]
    inside = sum(len(block.convolutions) for block in found)
    assert len(found) == blocks
    assert sum(isinstance(module, ConvolutionReLU) for module in fused.modules()) - inside == alone
    pixels = picture(96, 70)[None].to(dtype).to(memory_format=torch.channels_last)
    rough = 0.05 if dtype == torch.bfloat16 else 1e-5
    for wanted, *ways in zip(*map(_maps, (simple(pixels), fused(pixels), _without_onednn(fused, pixels))), strict=True):
        for way in ways:
            torch.testing.assert_close(way, wanted, rtol=rough, atol=rough * float(wanted.abs().max()))


def _maps(output: object) -> list[Tensor]:
    return list(output.values()) if isinstance(output, dict) else list(cast(list[Tensor], output))


def _without_onednn(network: nn.Module, pixels: Tensor) -> object:
    with torch.backends.mkldnn.flags(enabled=False):
        return network(pixels)


@torch.no_grad()
def test_a_block_leaves_alone_what_others_may_read() -> None:
    """Sums overwrite their second summand, but an image given to a first block without a shortcut is somebody's."""
    stage = nn.Sequential(*(BasicBlock(8, 8, norm_layer=nn.Identity) for _ in range(2))).eval()
    for block in stage:
        for name in ("bn1", "bn2"):
            block.set_submodule(name, nn.Sequential())
    pixels = torch.randn(1, 8, 6, 6).to(memory_format=torch.channels_last)
    before, wanted = pixels.clone(), stage(pixels)
    torch.testing.assert_close(with_fused_blocks(stage)(pixels), wanted)
    assert torch.equal(pixels, before)
    assert [block.follows for block in stage] == [False, True]


def test_a_convolution_that_no_norm_follows_stays() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    assert norms_behind_convolutions(network) == {"3": "4"}


@torch.no_grad()
def test_changed_weights_are_seen() -> None:
    """Training, loading and moving all make another copy; a copy of the model has its own."""
    model = stirred_model(backbone_norm="batch")
    model.prepare_for_inference()
    pixels = picture(64, 96)[None]
    first = model(pixels).logits
    model.train()
    stir(model.backbone)
    model.eval()
    trained = model(pixels).logits
    assert not torch.allclose(trained, first)
    other = stirred_model(seed=1, backbone_norm="batch")
    model.load_state_dict(other.state_dict())
    torch.testing.assert_close(model(pixels).logits, other(pixels).logits, rtol=1e-4, atol=1e-5)
    twin = copy.deepcopy(model)
    stir(twin.train()).eval()
    torch.testing.assert_close(model(pixels).logits, other(pixels).logits, rtol=1e-4, atol=1e-5)
    batch = padded_batch([picture(96, 70), picture(64, 128)], fill=2.0)
    stirred = twin(*batch).logits
    twin.backbone.inference = None
    torch.testing.assert_close(stirred, twin(*batch).logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.double()(pixels.double()).logits, other.double()(pixels.double()).logits)


def test_gradients_go_through_the_network_itself() -> None:
    model = small_model(backbone_norm="batch")
    model.prepare_for_inference()
    model(picture(64, 96)[None]).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.backbone.parameters())


def changes(model: SmcaForObjectDetection, sizes: list[tuple[int, int]], dtype: torch.dtype) -> tuple[float, float]:
    """Largest difference of scores and of boxes that predicting in `dtype` makes."""
    pixels, mask = padded_batch([picture(*size) for size in sizes])
    with torch.no_grad():
        exact = model(pixels, mask)
        model.prepare_for_inference(dtype)
        rounded = model(pixels, mask)
    assert rounded.logits.dtype == rounded.pred_boxes.dtype == torch.float32
    scores = (rounded.logits.sigmoid() - exact.logits.sigmoid()).abs().max().item()
    return scores, (rounded.pred_boxes - exact.pred_boxes).abs().max().item()


@pytest.mark.parametrize("modulation", ["none", "head-shared", "multi-head"])
def test_bfloat16_predicts_nearly_what_float32_does(modulation: str) -> None:
    model = stirred_model(backbone_norm="batch", modulation=modulation)
    scores, boxes = changes(model, [(96, 70), (64, 128)], torch.bfloat16)
    assert 0 < scores < 0.02
    assert 0 < boxes < 0.02


def test_bfloat16_leaves_training_alone() -> None:
    model = small_model(backbone_norm="layer")
    pixels, labels = picture(64, 96)[None], [{"class_labels": torch.tensor([1]), "boxes": torch.rand(1, 4)}]
    model.train()
    before = model(pixels, labels=labels).loss
    model.prepare_for_inference(torch.bfloat16)
    assert torch.equal(model(pixels, labels=labels).loss, before)


@torch.no_grad()
def test_alone_equals_in_a_batch_in_bfloat16_too() -> None:
    """To bfloat16's own rounding: the maps of a batch are as those of an image alone."""
    model = stirred_model(backbone_norm="batch")
    model.prepare_for_inference(torch.bfloat16)
    pictures = [picture(96, 70), picture(64, 128, seed=1)]
    together = model(*padded_batch(pictures, fill=2.0)).logits.sigmoid()
    for index, one in enumerate(pictures):
        assert (model(one[None]).logits.sigmoid()[0] - together[index]).abs().max() < 0.01


def test_frozen_norms_keep_their_statistics_while_others_learn() -> None:
    backbone = Backbone(small_config(backbone_norm="batch", frozen_stages=3)).train()
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [torch.as_tensor(norm.running_mean).clone() for norm in norms]
    backbone(torch.randn(2, 3, 64, 64), None)
    moved = [
        not torch.equal(torch.as_tensor(norm.running_mean), mean) for norm, mean in zip(norms, before, strict=True)
    ]
    assert moved == [norm.weight.requires_grad for norm in norms]
    assert any(moved)
    assert not all(moved)
