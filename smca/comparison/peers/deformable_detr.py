"""Deformable DETR (Zhu et al., ICLR 2021): a query looks at a few sampled points of every level. Source: transformers,
in plain PyTorch, without refinement and without two stages, as in the paper's table; four levels, or one.
"""

from __future__ import annotations

from transformers import DeformableDetrConfig, DeformableDetrForObjectDetection

from smca.comparison.peers.configuration import PeerConfig
from smca.comparison.peers.transformers_peer import TransformersPeer, detr_switches


def deformable_detr(config: PeerConfig) -> TransformersPeer:
    """The peer of that size; as many levels as `config.levels`."""
    theirs = DeformableDetrConfig(
        **detr_switches(config), d_model=config.d_model, num_feature_levels=len(config.levels)
    )
    return TransformersPeer(config, DeformableDetrForObjectDetection(theirs), sizes_from_zero=True)
