"""D-FINE (Peng et al., ICLR 2025): RT-DETR whose boxes are distributions over distances, refined layer by layer.
Source: transformers, its loss included.
"""

from __future__ import annotations

from transformers import DFineConfig, DFineForObjectDetection

from smca.comparison.peers.configuration import PeerConfig
from smca.comparison.peers.real_time import RealTimePeer, real_time_switches


def d_fine(config: PeerConfig) -> RealTimePeer:
    """The peer of that size."""
    return RealTimePeer(DFineForObjectDetection(DFineConfig(**real_time_switches(config))))
