"""A detector of torchvision as a peer: our backbone under its pyramid, its own losses, which are part of what it is.

Scores are not cut before AP.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from smca.comparison.peers.configuration import PeerConfig
from smca.comparison.peers.peer import Found, Labels, Peer, Predictions, Share, as_predictions, in_pixels
from smca.sizes import ImageSize

MOST = 100
LOWEST_SCORE = 1e-3


class AsGiven(nn.Module):
    """In the place of torchvision's resizing and normalising, which the image processor has done: nothing."""

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None) -> tuple[ImageList, Any]:
        return ImageList(torch.stack(images), [(image.shape[1], image.shape[2]) for image in images]), targets

    def postprocess(self, found: list[dict[str, Tensor]], *_: Any) -> list[dict[str, Tensor]]:
        """Boxes are in pixels of the images given."""
        return found


class TorchvisionPeer(Peer):
    """`first_class`: the library's number for our class 0."""

    def __init__(self, config: PeerConfig, network: nn.Module, first_class: int) -> None:
        super().__init__()
        self.classes = config.class_outputs
        self.network = network
        self.network.transform = AsGiven()
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
