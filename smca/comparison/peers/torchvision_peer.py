"""A detector of torchvision as a peer: our backbone under its pyramid, its own losses, which are part of what it is.

Its own resizing and normalising is switched off; the image processor has done both. Scores are not cut before AP.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from smca.comparison.peers.configuration import PeerConfig
from smca.comparison.peers.peer import Found, Labels, Peer, Predictions, Share, as_predictions, in_pixels
from smca.sizes import ImageSize

MOST = 100
LOWEST_SCORE = 1e-3
AS_GIVEN: dict[str, Any] = {
    "image_mean": [0.0] * 3,
    "image_std": [1.0] * 3,
    "_skip_resize": True,
    "size_divisible": 1,
}


class TorchvisionPeer(Peer):
    """`first_class`: the library's number for our class 0."""

    def __init__(self, config: PeerConfig, network: nn.Module, first_class: int) -> None:
        super().__init__()
        self.classes = config.class_outputs
        self.network = network
        self.first_class = first_class

    def look(self, pixels: Tensor) -> Predictions:
        size = ImageSize(height=pixels.shape[2], width=pixels.shape[3])
        found = [
            Found(one["boxes"], one["scores"], one["labels"] - self.first_class) for one in self.network(list(pixels))
        ]
        return as_predictions(found, size, self.classes, MOST)

    def learn(self, pixels: Tensor, labels: Labels, share: Share) -> Tensor:
        """Their losses are means over what they sampled in these images."""
        size = ImageSize(height=pixels.shape[2], width=pixels.shape[3])
        losses = self.network(list(pixels), in_pixels(labels, size, self.first_class))
        return torch.stack(list(losses.values())).sum() * (len(pixels) / share.images)
