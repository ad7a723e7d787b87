"""Where cells are centred: the geometry's offset against gradients through the network itself.

The network is made linear with even, positive weights; then the centroid of |d cell / d pixel| is the cell's centre.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from timm.layers import BatchNormAct2d, LayerNorm2d
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from smca.modeling.backbone import Backbone
from smca.modeling.geometry import LevelGeometry
from smca.modeling.input_projection import InputProjection
from tests.modeling.tiny import small_config

LONG, SHORT = 1024, 64
POINTWISE = (
    *(nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.LeakyReLU),
    *(nn.BatchNorm2d, BatchNormAct2d, FrozenBatchNorm2d, nn.LayerNorm, LayerNorm2d),
)


def make_linear(module: nn.Module) -> None:
    """Replace what acts on single values by nothing and maximum by mean; even weights that keep the scale."""
    for name, child in list(module.named_children()):
        if isinstance(child, POINTWISE) or "BatchNormAct" in type(child).__name__:
            setattr(module, name, nn.Identity())
        elif isinstance(child, nn.MaxPool2d):
            setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
        else:
            make_linear(child)
    for parameter in module.parameters(recurse=False):
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 1
        nn.init.constant_(parameter, 1 / fan_in)


def measured_offsets(backbone: Backbone, along_x: bool) -> dict[str, float]:
    """Centre of cell 0 by level, in cells, measured at a cell in the middle of an image that is long on one side."""
    size = (SHORT, LONG) if along_x else (LONG, SHORT)
    pixels = torch.ones(1, 3, *size, requires_grad=True)
    found = {}
    for name, features in backbone(pixels, None).items():
        stride = backbone.levels[name].stride
        cell = LONG // stride // 2
        strip = features[0].sum(dim=1 if along_x else 2)
        (slope,) = torch.autograd.grad(strip[:, cell].sum(), pixels, retain_graph=True)
        weight = slope[0].double().abs().sum(dim=(0, 1) if along_x else (0, 2))
        found[name] = _centroid(weight, torch.arange(LONG) + 0.5) / stride - cell
    return found


def _centroid(weight: Tensor, place: Tensor) -> float:
    return float((weight * place).sum() / weight.sum())


def linear_backbone(name: str, dilation: bool = False) -> Backbone:
    norm = "layer" if name == "plain" else "frozen"
    backbone = Backbone(small_config(backbone=name, backbone_norm=norm, dilation=dilation, levels=("c3", "c4", "c5")))
    make_linear(backbone.body)
    return backbone.eval()


@pytest.mark.parametrize(
    ("name", "dilation", "pixels", "tolerance"),
    [
        ("plain", False, lambda _: 0.5, 0.01),
        ("resnet18", False, lambda _: 0.5, 0.01),
        ("resnet50", True, lambda _: 0.5, 0.02),
        ("timm/tf_efficientnet_lite0", False, lambda stride: stride - 0.5, 0.02),
        ("timm/convnext_atto", False, lambda stride: stride / 2, 0.02),
        # Its shortcuts average 2x2 cells and its branches do not: what is stated is the branches' centre.
        ("timm/resnet18d", False, lambda _: 0.5, 0.3),
    ],
)
def test_offset_is_where_gradients_are_centred(
    name: str, dilation: bool, pixels: Callable[[int], float], tolerance: float
) -> None:
    backbone = linear_backbone(name, dilation)
    for level in backbone.levels.values():
        assert level.offset * level.stride == pytest.approx(pixels(level.stride))
    stated = {name: level.offset for name, level in backbone.levels.items()}
    for along_x in (True, False):
        assert measured_offsets(backbone, along_x) == pytest.approx(stated, abs=tolerance)


def test_c6_lies_on_every_second_cell_of_c5() -> None:
    """A 3x3 stride-2 convolution with one cell of padding is centred on cell 2 i of C5."""
    config = small_config(levels=("c5", "c6"))
    c5 = LevelGeometry("c5", 32, 8, offset=0.25)
    projection = InputProjection(config, {"c5": c5})
    make_linear(projection.projections[1])
    features = torch.zeros(1, 8, 9, 9, requires_grad=True)
    projection.projections[1](features)[0, :, 2, 2].sum().backward()
    assert features.grad is not None
    weight = features.grad.abs().sum(dim=(0, 1, 2))
    centre = _centroid(weight, torch.arange(9) + c5.offset)
    assert projection.levels[1].stride == 64
    assert 2 + projection.levels[1].offset == pytest.approx(centre / 2)


@pytest.mark.parametrize("name", ["plain", "timm/tf_efficientnet_lite0"])
def test_released_code_puts_cells_at_whole_numbers(name: str) -> None:
    backbone = Backbone(small_config(backbone=name, backbone_norm="frozen", cell_position="integer"))
    assert {level.offset for level in backbone.levels.values()} == {0.0}


@pytest.mark.parametrize(("name", "dilation"), [("plain", False), ("resnet18", False), ("resnet50", True)])
def test_maps_have_the_cells_of_the_geometry(name: str, dilation: bool) -> None:
    levels = ("c3", "c4", "c5")
    backbone = Backbone(small_config(backbone=name, dilation=dilation, levels=levels, backbone_norm="frozen"))
    assert [level.stride for level in backbone.levels.values()] == [8, 16, 16 if dilation else 32]
    maps = backbone(torch.zeros(1, 3, 75, 133), None)
    for level in backbone.levels.values():
        assert maps[level.name].shape == (1, level.channels, -(-75 // level.stride), -(-133 // level.stride))
