"""A detector of transformers as a peer: our backbone inside, our initial values, our criterion on every decoder layer.

The library computes all layers' predictions only on the way to its loss, so its loss function is replaced by one that
hands them over.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from smca.comparison.peers.backbone import SharedBackboneConfig
from smca.comparison.peers.configuration import PeerConfig
from smca.comparison.peers.initial_values import set_fair_values
from smca.comparison.peers.peer import Predictions, SetPeer


def hand_over(*arguments: Any) -> tuple[None, None, Predictions]:
    """In the place of a loss, whose last arguments are the logits and boxes of all layers: these."""
    return None, None, Predictions(*arguments[-2:])


def detr_switches(config: PeerConfig) -> dict[str, Any]:
    """What the configurations of transformers' DETRs all take."""
    return {
        "backbone_config": SharedBackboneConfig.of(config),
        "num_queries": config.num_queries,
        "encoder_layers": len(config.encoder),
        "encoder_ffn_dim": config.ffn_dim,
        "encoder_attention_heads": config.num_heads,
        "decoder_layers": config.decoder_layers,
        "decoder_ffn_dim": config.ffn_dim,
        "decoder_attention_heads": config.num_heads,
        "dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "auxiliary_loss": True,
        "num_labels": config.num_labels,
    }


class TransformersPeer(SetPeer):
    """`sizes_from_zero`: whether boxes are predicted without a reference's size."""

    def __init__(self, config: PeerConfig, network: PreTrainedModel, sizes_from_zero: bool) -> None:
        super().__init__(config)
        self.network = network
        self.network.loss_function = hand_over
        set_fair_values(network, sizes_from_zero)

    def look(self, pixels: Tensor) -> Predictions:
        return self.network(pixel_values=pixels, labels=[]).auxiliary_outputs
