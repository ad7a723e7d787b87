"""Conditional DETR (Meng et al., ICCV 2021): a query's content and place attend apart. Source: transformers."""

from __future__ import annotations

from transformers import ConditionalDetrConfig, ConditionalDetrForObjectDetection

from smca.comparison.peers.configuration import PeerConfig
from smca.comparison.peers.transformers_peer import TransformersPeer, detr_switches


def conditional_detr(config: PeerConfig) -> TransformersPeer:
    """The peer of that size."""
    theirs = ConditionalDetrConfig(**detr_switches(config), d_model=config.d_model)
    return TransformersPeer(config, ConditionalDetrForObjectDetection(theirs), sizes_from_zero=True)
