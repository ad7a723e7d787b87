"""DAB-DETR (Liu et al., ICLR 2022): queries are boxes, refined from layer to layer, whose size scales the positional
attention. Source: transformers.
"""

from __future__ import annotations

from transformers import DabDetrConfig, DabDetrForObjectDetection

from smca.comparison.peers.configuration import PeerConfig
from smca.comparison.peers.initial_values import spread_boxes
from smca.comparison.peers.transformers_peer import TransformersPeer, detr_switches


def dab_detr(config: PeerConfig) -> TransformersPeer:
    """The peer of that size."""
    theirs = DabDetrConfig(**detr_switches(config), hidden_size=config.d_model)
    network = DabDetrForObjectDetection(theirs)
    peer = TransformersPeer(config, network, sizes_from_zero=False)
    spread_boxes(network.model.query_refpoint_embeddings)
    return peer
