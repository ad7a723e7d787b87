"""RT-DETRv2 (Lv et al., 2024): a convolutional pyramid around one attention layer, denoising, varifocal loss. Source:
transformers, its loss included.
"""

from __future__ import annotations

from transformers import RTDetrV2Config, RTDetrV2ForObjectDetection

from smca.comparison.peers.configuration import PeerConfig
from smca.comparison.peers.real_time import RealTimePeer, real_time_switches


def rt_detr_v2(config: PeerConfig) -> RealTimePeer:
    """The peer of that size."""
    return RealTimePeer(RTDetrV2ForObjectDetection(RTDetrV2Config(**real_time_switches(config))))
