"""Backbones end where the coarsest level ends that is read."""

from __future__ import annotations

import pytest
import torch

from smca.modeling.backbone import Backbone
from smca.modeling.configuration import SmcaConfig

BACKBONES = ("plain", "resnet18", "timm/resnet18d", "timm/tf_efficientnet_lite0", "timm/convnext_atto", "timm/dla34")


def _backbone(name: str, *levels: str) -> Backbone:
    return Backbone(SmcaConfig(backbone=name, backbone_norm="batch", frozen_stages=0, levels=levels)).eval()


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("level", ["c3", "c4"])
def test_nothing_is_built_after_the_coarsest_level_and_what_it_shows_is_the_same(name: str, level: str) -> None:
    whole, short = _backbone(name, level, "c5"), _backbone(name, level)
    weights = whole.body.state_dict()
    assert set(short.body.state_dict()) < set(weights)
    short.body.load_state_dict({key: weights[key] for key in short.body.state_dict()})
    pixels = torch.randn(1, 3, 64, 96)
    features = short(pixels, None)
    assert list(features) == [level]
    torch.testing.assert_close(features[level], whole(pixels, None)[level])
    features[level].sum().backward()
    assert [name for name, parameter in short.named_parameters() if parameter.grad is None] == []


def test_dilated_maps_of_one_stride_keep_their_names() -> None:
    both = Backbone(SmcaConfig(backbone="plain", backbone_norm="batch", dilation=True, levels=("c4", "c5")))
    assert [(level.name, level.stride) for level in both.levels.values()] == [("c4", 16), ("c5", 16)]
    one = Backbone(SmcaConfig(backbone="plain", backbone_norm="batch", dilation=True, levels=("c4",)))
    assert len(list(one.parameters())) < len(list(both.parameters()))
