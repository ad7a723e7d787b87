"""`PeerConfig`: SmcaConfig's switches and which detector they describe; what a peer does not use it ignores.

Read as: `backbone*`, `dilation`, `frozen_stages` as in SmcaConfig; `levels`, the maps a peer reads ("c6" is its own
stride-2 convolution on C5; one level for the peers that have one); `len(encoder)` layers of its encoder; `d_model`,
`num_heads`, `ffn_dim`, `decoder_layers`, `num_queries`, `dropout` as named. Raises as SmcaConfig does.
"""

import math
from typing import Literal

from huggingface_hub.dataclasses import strict

from smca.modeling.configuration import MOST, WIDEST, SmcaConfig

PeerName = Literal[
    "conditional-detr",
    "deformable-detr",
    "dab-detr",
    "rt-detr-v2",
    "d-fine",
    "faster-rcnn",
    "fcos",
    "tsp-fcos",
    "tsp-rcnn",
]


@strict
class PeerConfig(SmcaConfig):
    r"""
    peer: the detector.
    anchor_scale: side of the anchors of peers that have them, in strides of their level (4 on images of 800 pixels).
    pyramid_channels: of every level of a feature pyramid.
    candidates: tokens that TSP's encoder sees.
    """

    model_type = "smca-peer"

    peer: PeerName = "deformable-detr"
    anchor_scale: float | int = 4.0
    pyramid_channels: int = 256
    candidates: int = 700

    def validate_peer(self) -> None:
        """What peers alone have is bounded too."""
        if not 0 < self.anchor_scale < math.inf:
            raise ValueError(f"anchor_scale is {self.anchor_scale}; allowed: above 0")
        for name, most in (("pyramid_channels", WIDEST), ("candidates", MOST["num_queries"])):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: 1 to {most}")
