"""Image -> feature levels C3..C5 whose values inside an image do not depend on what lies beyond it.

Sources: torchvision ResNets (R50, R101; `dilation` = DC5), "plain" (plain_backbone.py) and any timm feature extractor.
Everything a kernel above 1x1 would read from padding is zero (padding.py). Networks that average over the whole map
(squeeze-and-excite, group norm, attention) would still read padding: their images run one by one. What comes after the
coarsest level that is read is not built: it would cost time and hold parameters that no gradient reaches.

C6 of the paper is a 3x3 stride-2 convolution on C5 and belongs to the input projection (input_projection.py).
Raises ConfigurationError for unknown names and for levels a network does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import timm
import torch
import torch.nn.functional as F
import torchvision
from timm.models import FeatureInfo
from torch import Tensor, nn
from torchvision.models import ResNet
from torchvision.models._utils import IntermediateLayerGetter

from smca.errors import ConfigurationError, nearest
from smca.modeling.configuration import SmcaConfig
from smca.modeling.frozen_norm import freeze_norms
from smca.modeling.geometry import BatchSizes, LevelGeometry
from smca.modeling.norm_folding import InferenceNetwork
from smca.modeling.padding import PaddingGuard, reads_everywhere
from smca.modeling.plain_backbone import NORMS, PlainBackbone
from smca.modeling.precision import at_least_float32, autocast
from smca.modeling.receptive_field import PROBE, SpatialLayer, first_centre, probe, shift

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


class Trunk(NamedTuple):
    """A network, its stages' parameters in order (for freezing), and the channels and stride of each map it returns."""

    network: nn.Module
    stages: list[list[nn.Parameter]]
    channels: list[int]
    strides: list[int]


def build_trunk(config: SmcaConfig) -> Trunk:
    """The network behind `config.backbone`."""
    if config.backbone == "plain":
        return _plain(config)
    if config.backbone in RESNETS:
        return _resnet(config)
    if config.backbone.startswith("timm/"):
        return _timm(config)
    raise ConfigurationError(
        f"backbone is '{config.backbone}'; allowed: plain, timm/NAME, {', '.join(RESNETS)}."
        f"{nearest(config.backbone, RESNETS)}"
    )


def _level_names(strides: Sequence[int]) -> list[str]:
    """c3 at stride 8, c4 at 16 and so on; a second map of one stride is DC5's c5."""
    names: list[str] = []
    for stride in strides:
        name = f"c{stride.bit_length() - 1}"
        names.append("c5" if name in names else name)
    return names


def _read(strides: Sequence[int], config: SmcaConfig) -> int:
    """How many maps there are up to the coarsest that is read; all, where one is wanted that is not there."""
    wanted, names = read_levels(config), _level_names(strides)
    return max(map(names.index, wanted)) + 1 if wanted <= set(names) else len(names)


def read_levels(config: SmcaConfig) -> set[str]:
    """The network's levels that the detector reads; c6 is made of c5."""
    return {"c5" if level == "c6" else level for level in config.levels}


def _plain(config: SmcaConfig) -> Trunk:
    strides = [8, 16, 16 if config.dilation else 32]
    read = _read(strides, config)
    widths, blocks = tuple(config.backbone_widths)[: 2 + read], tuple(config.backbone_blocks)[:read]
    network = PlainBackbone(widths, blocks, config.backbone_norm, config.dilation)
    stages = [list(stage.parameters()) for stage in network.stages]
    return Trunk(network, stages, list(widths[2:]), strides[:read])


def _resnet(config: SmcaConfig) -> Trunk:
    try:
        model = torchvision.models.get_model(
            config.backbone,
            norm_layer=NORMS[config.backbone_norm],
            replace_stride_with_dilation=[False, False, config.dilation],
        )
    except NotImplementedError as error:
        raise ConfigurationError(f"backbone '{config.backbone}' with dilation=True: {error}") from error
    network = cast(ResNet, model)  # as all of RESNETS are
    width, strides = network.fc.in_features, [8, 16, 16 if config.dilation else 32]
    read = _read(strides, config)
    body = IntermediateLayerGetter(network, {f"layer{i}": f"c{i + 1}" for i in range(2, 2 + read)})
    stages = _stages(body, ("bn1", *(f"layer{i}" for i in range(1, 2 + read))))
    return Trunk(body, stages, [width // 4, width // 2, width][:read], strides[:read])


def _timm(config: SmcaConfig) -> Trunk:
    name = config.backbone.removeprefix("timm/")
    if not timm.is_model(name):
        raise ConfigurationError(f"timm has no model '{name}'.{nearest(name, timm.list_models())}")
    if config.backbone_norm == "layer":
        raise ConfigurationError(f"backbone_norm is 'layer'; allowed with '{config.backbone}': frozen, batch")
    dilated: dict[str, Any] = {"output_stride": 16} if config.dilation else {}
    try:
        network = timm.create_model(name, features_only=True, **dilated)
    except (TypeError, RuntimeError, ValueError, AssertionError) as error:
        raise ConfigurationError(
            f"'{config.backbone}' with dilation={config.dilation} has no feature levels: {error}"
        ) from error
    maps = cast(FeatureInfo, network.feature_info)  # what `features_only` adds
    if (read := _read(maps.reduction(), config)) < len(maps.reduction()):
        network = timm.create_model(name, features_only=True, out_indices=maps.out_indices[:read], **dilated)
        maps = cast(FeatureInfo, network.feature_info)
        _drop_blocks_after(network, maps.module_name()[-1])
    if config.backbone_norm == "frozen":
        freeze_norms(network)
    return Trunk(network, _stages(network, maps.module_name()), maps.channels(), maps.reduction())


def _drop_blocks_after(network: nn.Module, end: str) -> None:
    """Timm drops them by itself, but for its EfficientNets and MobileNets, whose maps end with "blocks.N"."""
    place, _, last = end.partition(".")
    blocks = getattr(network, place, None)
    if isinstance(blocks, nn.Sequential) and last.isdecimal():
        del blocks[int(last) + 1 :]


def _stages(network: nn.Module, ends: Sequence[str]) -> list[list[nn.Parameter]]:
    """The parameters in order, cut after the modules named `ends`, which make the feature maps (a dot may be "_")."""
    modules = [(f"{name}.", list(module.parameters(recurse=False))) for name, module in network.named_modules()]
    stages, start = [], 0
    for end in ends:
        prefixes = (f"{end}.", f"{end.replace('.', '_')}.")
        within = [index for index, (name, _) in enumerate(modules) if name.startswith(prefixes)]
        if within:
            stages.append([parameter for _, own in modules[start : within[-1] + 1] for parameter in own])
            start = within[-1] + 1
    return stages


def _probed(trunk: Trunk, name: str) -> list[SpatialLayer]:
    """The layers that padding must be kept from, once each map is seen to cover the image evenly, channels first."""
    try:
        layers, shapes = probe(trunk.network)
    except (RuntimeError, AssertionError) as error:
        raise ConfigurationError(f"backbone '{name}' does not take images of any size: {error}") from error
    wanted = [(c, PROBE // s, PROBE // s) for c, s in zip(trunk.channels, trunk.strides, strict=True)]
    if shapes != wanted:
        raise ConfigurationError(f"backbone '{name}' makes maps of {shapes} from {PROBE} pixels; allowed: {wanted}")
    return layers


def _geometry(trunk: Trunk, layers: list[SpatialLayer], integer: bool) -> dict[str, LevelGeometry]:
    """Geometry of the maps the network returns, by level; `integer` cells lie at whole numbers."""
    levels = {}
    names = _level_names(trunk.strides)
    for name, channels, stride in zip(names, trunk.channels, trunk.strides, strict=True):
        offset = 0.0 if integer else first_centre(layers, stride) / stride
        levels[name] = LevelGeometry(name, stride, channels, offset)
    return levels


class Backbone(nn.Module):
    """pixel_values [B, 3, H, W], sizes -> {"c3": [B, C, ceil(H/8), ceil(W/8)], ...}; H, W: multiples of `multiple`."""

    def __init__(self, config: SmcaConfig) -> None:
        super().__init__()
        self.config = config
        trunk = build_trunk(config)
        wanted = read_levels(config)
        layers = _probed(trunk, config.backbone)
        levels = _geometry(trunk, layers, config.cell_position == "integer")
        if missing := wanted - set(levels):
            raise ConfigurationError(f"backbone '{config.backbone}' has no {sorted(missing)}; it has {sorted(levels)}")
        self.body = trunk.network
        self.empty = any(parameter.is_meta for parameter in self.body.parameters())
        self.order = tuple(levels)
        self.levels = {name: level for name, level in levels.items() if name in wanted}
        self.one_by_one = reads_everywhere(self.body)
        self.bf16 = False
        self.register_load_state_dict_pre_hook(Backbone._forget)
        self.inference: InferenceNetwork | None = None
        self.guard = PaddingGuard(layers)
        self.multiple = self._multiple(layers)
        for stage in trunk.stages[: config.frozen_stages]:
            for parameter in stage:
                parameter.requires_grad_(False)

    @staticmethod
    def _multiple(layers: list[SpatialLayer]) -> int:
        """What image sides are padded to: nothing where layers pad alike on all sides, else the coarsest stride."""
        lopsided = any(layer.after > layer.before and shift(layer) for layer in layers)
        return max(layer.after for layer in layers) if lopsided else 1

    def forward(self, pixel_values: Tensor, sizes: BatchSizes | None) -> dict[str, Tensor]:
        if sizes is not None and self.one_by_one:
            return self._one_by_one(pixel_values, sizes)
        return self._together(pixel_values, sizes)

    def fold_norms(self, dtype: torch.dtype | None = None) -> None:
        """From now on look at images, where no gradients are wanted, without norms (norm_folding.py), in `dtype`."""
        self.inference = InferenceNetwork(self.body, (self.guard,), dtype)

    def _forget(self, *_: Any) -> None:
        if self.inference is not None:
            self.inference.forget()

    def train(self, mode: bool = True) -> Backbone:
        """Norms whose weights are frozen keep their statistics too."""
        super().train(mode)
        if mode:
            self._forget()
            for norm in self.body.modules():
                if isinstance(norm, nn.BatchNorm2d) and not norm.weight.requires_grad:
                    norm.eval()
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Backbone:
        self._forget()
        return super()._apply(fn, recurse)

    def _together(self, pixel_values: Tensor, sizes: BatchSizes | None) -> dict[str, Tensor]:
        network, dtype = self.body, pixel_values.dtype
        if self.inference is not None and not self.training and not torch.is_grad_enabled():
            network, dtype = self.inference.ready(), self.inference.dtype or dtype
        training_type = torch.bfloat16 if self.bf16 and self.training else None
        with self.guard.active(sizes), autocast(pixel_values.device, training_type):
            maps = network(pixel_values.to(dtype))
        maps = maps.values() if isinstance(maps, dict) else maps
        return {name: at_least_float32(m) for name, m in zip(self.order, maps, strict=True) if name in self.levels}

    def _one_by_one(self, pixel_values: Tensor, sizes: BatchSizes) -> dict[str, Tensor]:
        """Each image padded only as it would be alone, then its maps padded to the batch's."""
        runs = []
        for image, height, width in zip(pixel_values, sizes.height.tolist(), sizes.width.tolist(), strict=True):
            one = BatchSizes(torch.tensor([height], device=image.device), torch.tensor([width], device=image.device))
            rows, columns = (-(-extent // self.multiple) * self.multiple for extent in (height, width))
            runs.append(self._together(image[None, :, :rows, :columns], one))
        maps = {}
        for name, level in self.levels.items():
            rows, columns = (-(-extent // level.stride) for extent in pixel_values.shape[-2:])
            maps[name] = torch.cat(
                [F.pad(run[name], (0, columns - run[name].shape[-1], 0, rows - run[name].shape[-2])) for run in runs]
            )
        return maps
