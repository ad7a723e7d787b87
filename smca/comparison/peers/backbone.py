"""Our backbones for the peers: as one of transformers' (AutoBackbone knows "smca_backbone"), and under a pyramid.

All peers of a size have the same network, norms and frozen stages, and start from the same values. Maps are cut to the
cells of the image, ceil(size / stride), where the network needs sides that are multiples of its stride.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, cast

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelP6P7
from transformers import AutoBackbone, AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.backbone_utils import BackboneConfigMixin, BackboneMixin
from transformers.modeling_outputs import BackboneOutput

from smca.comparison.peers.configuration import PeerConfig
from smca.modeling.backbone import Backbone
from smca.modeling.configuration import SmcaConfig
from smca.modeling.geometry import BatchSizes

NETWORK = ("backbone", "backbone_norm", "backbone_widths", "backbone_blocks", "dilation", "frozen_stages")


@strict
class SharedBackboneConfig(BackboneConfigMixin, PreTrainedConfig):
    """network: SmcaConfig's switches of the backbone; levels: what it returns, of "c3", "c4", "c5"."""

    model_type = "smca_backbone"

    network: dict[str, Any] | None = None
    levels: tuple[str, ...] | list[str] = ("c5",)

    def __post_init__(self, **kwargs: Any) -> None:
        self.levels = tuple(self.levels)
        self.stage_names = list(self.levels)
        outputs = (kwargs.pop("out_features", None) or list(self.levels), kwargs.pop("out_indices", None))
        self.set_output_features_output_indices(*outputs)
        super().__post_init__(**kwargs)

    @classmethod
    def of(cls, config: PeerConfig) -> SharedBackboneConfig:
        """The backbone that a peer's configuration describes."""
        network = {name: getattr(config, name) for name in NETWORK}
        return cls(network=network, levels=tuple(level for level in config.levels if level != "c6"))


def whole_images(backbone: Backbone, pixels: Tensor) -> list[Tensor]:
    """The maps of images without padding, fine to coarse."""
    batch, _, height, width = pixels.shape
    fill = (0, -width % backbone.multiple, 0, -height % backbone.multiple)
    sizes = None
    if any(fill):
        full = torch.full((batch,), height, device=pixels.device)
        sizes = BatchSizes(height=full, width=torch.full_like(full, width))
    maps = backbone(F.pad(pixels, fill), sizes)
    strides = {name: level.stride for name, level in backbone.levels.items()}
    return [maps[name][..., : -(-height // stride), : -(-width // stride)] for name, stride in strides.items()]


class SharedBackbone(BackboneMixin, PreTrainedModel):
    """pixel_values [B, 3, H, W] -> feature_maps."""

    config_class = SharedBackboneConfig
    base_model_prefix = ""
    has_attentions = False

    def __init__(self, config: SharedBackboneConfig) -> None:
        super().__init__(config)
        self.renew()
        self.num_features = [level.channels for level in self.body.levels.values()]

    def renew(self) -> None:
        """A new network with its library's initial values, its norms as the configuration says."""
        self.body = Backbone(SmcaConfig(**(self.config.network or {}), levels=self.config.levels))

    def forward(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> BackboneOutput:
        """Maps alone; the options are transformers' and change nothing."""
        return BackboneOutput(feature_maps=cast(Any, tuple(whole_images(self.body, pixel_values))))


AutoConfig.register(SharedBackboneConfig.model_type, SharedBackboneConfig)
AutoBackbone.register(SharedBackboneConfig, SharedBackbone)


class Pyramid(nn.Module):
    """[B, 3, H, W] -> {"p3": [B, C, H/8, W/8], ..., "p7"}: C3, C4 and C5 through a feature pyramid (torchvision)."""

    def __init__(self, config: PeerConfig) -> None:
        super().__init__()
        self.body = Backbone(config)
        self.out_channels = config.pyramid_channels
        inputs = [level.channels for level in self.body.levels.values()]
        extra = LastLevelP6P7(self.out_channels, self.out_channels)
        self.pyramid = FeaturePyramidNetwork(inputs, self.out_channels, extra)
        self.strides = tuple(level.stride for level in self.body.levels.values())
        self.strides += (2 * self.strides[-1], 4 * self.strides[-1])

    def forward(self, pixels: Tensor) -> OrderedDict[str, Tensor]:
        maps = whole_images(self.body, pixels)
        levels = self.pyramid(OrderedDict((f"p{3 + i}", one) for i, one in enumerate(maps)))
        return OrderedDict(zip((f"p{3 + i}" for i in range(len(levels))), levels.values(), strict=True))
