"""Frozen norm against torchvision's product and sum and against batch norm in evaluation."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from smca.modeling.backbone import Backbone
from smca.modeling.frozen_norm import FrozenNorm, freeze_norms
from tests.modeling.tiny import small_config


def used(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """With statistics and weights of its own, in evaluation."""
    for value in norm.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.5, 2.0)
    return norm.eval()


def output_and_gradient(norm: nn.Module, features: Tensor) -> tuple[Tensor, Tensor]:
    features = features.clone().requires_grad_()
    output = norm(features)
    (gradient,) = torch.autograd.grad(output.square().sum(), features)
    return output, gradient


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "norm", [nn.BatchNorm2d(6, eps=1e-3), nn.BatchNorm2d(6, affine=False), BatchNormAct2d(6, act_layer=nn.ReLU6)]
)
def test_frozen_is_evaluation_for_good(norm: nn.BatchNorm2d, layout: torch.memory_format) -> None:
    features = torch.randn(2, 6, 5, 4).contiguous(memory_format=layout)
    frozen = FrozenNorm.of(used(norm)).train()
    torch.testing.assert_close(output_and_gradient(frozen, features), output_and_gradient(norm, features))
    assert not list(frozen.parameters())


def test_values_and_state_are_torchvisions() -> None:
    theirs, ours = FrozenBatchNorm2d(6), FrozenNorm(6)
    theirs.load_state_dict(used(nn.BatchNorm2d(6)).state_dict())
    ours.load_state_dict(theirs.state_dict())
    features = torch.randn(2, 6, 5, 4)
    torch.testing.assert_close(output_and_gradient(ours, features), output_and_gradient(theirs, features))


def test_a_frozen_network_keeps_names_and_outputs() -> None:
    network = timm.create_model("tf_efficientnet_lite0", features_only=True).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            used(module)
    pictures = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before, names = network(pictures), {n for n in network.state_dict() if "num_batches" not in n}
        freeze_norms(network)
        torch.testing.assert_close(network.train()(pictures), before)
    assert set(network.state_dict()) == names
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("backbone", ["resnet18", "timm/tf_efficientnet_lite0"])
def test_frozen_stages_keep_nothing_for_the_backward_pass(backbone: str) -> None:
    """The stem and first stage of the paper's ResNets: no graph begins before the first part that trains."""
    network = Backbone(small_config(backbone=backbone, backbone_norm="frozen", frozen_stages=2)).train()
    kept: list[int] = []
    frozen = {id(p) for p in network.parameters() if not p.requires_grad}
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda m, _, out: kept.append(id(m.weight) if out.requires_grad else 0))
    network(torch.randn(1, 3, 64, 64), None)
    first = next(index for index, one in enumerate(kept) if one)
    assert first > 1
    assert not frozen & set(kept)
