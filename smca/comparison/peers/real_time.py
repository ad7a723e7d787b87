"""What RT-DETRv2 and D-FINE have in common as peers: three levels, queries chosen from the encoder's cells, and losses
of their own (varifocal, denoising groups; D-FINE's distributions), which are part of what they are.

Their pyramid doubles its maps, so sides must be multiples of 32: an image is padded to that by itself, and boxes are
converted between it and the padded one.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from smca.comparison.peers.backbone import SharedBackboneConfig
from smca.comparison.peers.configuration import PeerConfig
from smca.comparison.peers.initial_values import set_fair_values
from smca.comparison.peers.peer import Labels, Peer, Predictions, Share

MULTIPLE = 32


def real_time_switches(config: PeerConfig) -> dict[str, Any]:
    """Both libraries' configurations take these; the encoder attends in the coarsest level alone, once."""
    return {
        "backbone_config": SharedBackboneConfig.of(config),
        "freeze_backbone_batch_norms": False,
        "encoder_hidden_dim": config.d_model,
        "encoder_ffn_dim": config.ffn_dim,
        "encoder_attention_heads": config.num_heads,
        "feat_strides": [8, 16, 32],
        "d_model": config.d_model,
        "decoder_in_channels": [config.d_model] * 3,
        "decoder_ffn_dim": config.ffn_dim,
        "decoder_layers": config.decoder_layers,
        "decoder_attention_heads": config.num_heads,
        "num_queries": config.num_queries,
        "dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "num_labels": config.num_labels,
    }


class RealTimePeer(Peer):
    """A network of transformers that brings its loss."""

    def __init__(self, network: PreTrainedModel) -> None:
        super().__init__()
        self.network = network
        set_fair_values(network, sizes_from_zero=False)

    def look(self, pixels: Tensor) -> Predictions:
        padded, scale = to_multiple(pixels)
        outputs = self.network(pixel_values=padded)
        return Predictions(outputs.logits[None], (outputs.pred_boxes / scale)[None])

    def learn(self, pixels: Tensor, labels: Labels, share: Share) -> Tensor:
        """Their loss divides by the boxes of these images, here by those of the batch."""
        padded, scale = to_multiple(pixels)
        own = [{**label, "boxes": label["boxes"].reshape(-1, 4) * scale} for label in labels]
        boxes = sum(len(label["class_labels"]) for label in own)
        loss = self.network(pixel_values=padded, labels=own).loss
        return loss * (max(boxes, 1) / share.boxes.clamp(min=1))


def to_multiple(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Padded at the right and bottom; and how much of the padded width, height, width, height the image is."""
    height, width = pixels.shape[-2:]
    padded = F.pad(pixels, (0, -width % MULTIPLE, 0, -height % MULTIPLE))
    across, down = width / padded.shape[-1], height / padded.shape[-2]
    return padded, pixels.new_tensor([across, down, across, down])
