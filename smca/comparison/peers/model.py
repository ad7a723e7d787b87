"""`PeerForObjectDetection`: any peer behind the same door as SMCA, so that it trains, is saved, loaded and used alike.

    out = model(pixel_values=x, pixel_mask=m, labels=t)     as `SmcaForObjectDetection`

A batch is cut into groups of images of one size and each group is learned without padding, whatever the peer does with
it; a prediction is made of each image by itself and cannot depend on its batch. While it trains, the output is the loss
alone.
Raises ConfigurationError for what a peer cannot do (compiling for any size).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import can_return_tuple

from smca.comparison.peers.conditional_detr import conditional_detr
from smca.comparison.peers.configuration import PeerConfig
from smca.comparison.peers.d_fine import d_fine
from smca.comparison.peers.dab_detr import dab_detr
from smca.comparison.peers.deformable_detr import deformable_detr
from smca.comparison.peers.faster_rcnn import FasterRcnn
from smca.comparison.peers.fcos import Fcos
from smca.comparison.peers.peer import Labels, Peer, Predictions, Share
from smca.comparison.peers.rt_detr_v2 import rt_detr_v2
from smca.comparison.peers.tsp_fcos import TspFcos
from smca.comparison.peers.tsp_rcnn import TspRcnn
from smca.criterion.losses import mean_boxes
from smca.errors import ConfigurationError
from smca.modeling.backbone import Backbone
from smca.modeling.geometry import BatchSizes
from smca.modeling.outputs import SmcaObjectDetectionOutput

if TYPE_CHECKING:
    from smca.detections import Detections

BUILDERS: dict[str, Callable[[PeerConfig], Peer]] = {
    "conditional-detr": conditional_detr,
    "deformable-detr": deformable_detr,
    "dab-detr": dab_detr,
    "rt-detr-v2": rt_detr_v2,
    "d-fine": d_fine,
    "faster-rcnn": FasterRcnn,
    "fcos": Fcos,
    "tsp-fcos": TspFcos,
    "tsp-rcnn": TspRcnn,
}


class PeerForObjectDetection(PreTrainedModel):
    """The detector that `config.peer` names."""

    config_class = PeerConfig
    main_input_name = "pixel_values"
    base_model_prefix = ""
    accepts_loss_kwargs = False

    def __init__(self, config: PeerConfig) -> None:
        super().__init__(config)
        with torch.device("cpu"), warnings.catch_warnings():  # numbers even where a file's will come: tables have none
            warnings.filterwarnings("ignore", message="You'd better set embed_dim", category=UserWarning)
            self.peer = BUILDERS[config.peer](config)
        self._keys_to_ignore_on_load_missing = [rf"^peer\.network\.{re.escape(name)}" for name in _tied(self.peer)]
        self.post_init()

    def tie_weights(self, *arguments: Any, **options: Any) -> None:
        """The network's own ties, also after loading."""
        super().tie_weights(*arguments, **options)
        network = getattr(self.peer, "network", None)
        if isinstance(network, PreTrainedModel):
            network.tie_weights()

    def initialize_weights(self) -> None:
        """A peer has its initial values from its own constructor."""

    @property
    def backbone(self) -> Backbone:
        """Ours, wherever the peer keeps it."""
        return self.peer.backbone

    def compile_for_any_size(self, backend: str = "inductor") -> None:
        """Refused: peers run as their library made them."""
        raise ConfigurationError(f"--compile: '{self.config.peer}' is not compiled; allowed for smca and detr")

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        pixel_mask: Tensor | None = None,
        labels: list[dict[str, Tensor]] | None = None,
        num_boxes: Tensor | None = None,
    ) -> SmcaObjectDetectionOutput:
        groups = list(by_size(pixel_values, pixel_mask))
        output = SmcaObjectDetectionOutput()
        if labels is not None:
            output.loss = self._loss(groups, labels, num_boxes)
        if labels is None or not self.training:
            output.logits, output.pred_boxes = self._look(groups)
        return output

    def _loss(self, groups: Sequence[Group], labels: Labels, num_boxes: Tensor | None) -> Tensor:
        boxes = sum(len(label["class_labels"]) for label in labels)
        count = mean_boxes(boxes, self.device) if num_boxes is None else num_boxes
        share = Share(torch.as_tensor(count, device=self.device), len(labels))
        parts = [self.peer.learn(pixels, [labels[i] for i in images], share) for images, pixels in groups]
        return torch.stack(parts).sum()

    def _look(self, groups: Sequence[Group]) -> Predictions:
        """One by one: among companions of its size an image's numbers round otherwise, which suppression of boxes and
        choices of the best turn into other detections.
        """
        order = torch.tensor([image for images, _ in groups for image in images]).argsort()
        found = [self.peer.look(one[None]) for _, pixels in groups for one in pixels]
        logits, boxes = (torch.cat([one[kind][-1] for one in found])[order] for kind in (0, 1))
        return Predictions(logits, boxes)

    def predict(
        self, images: Sequence[Any], threshold: float | None = None, tile: int | bool = False
    ) -> list[Detections]:
        """As `SmcaForObjectDetection.predict`."""
        from smca.inference.predict import predict_with

        return predict_with(self, images, threshold, tile)


Group = tuple[list[int], Tensor]


def _tied(peer: Peer) -> list[str]:
    """Weights that a network of transformers shares under a second name, which its file does not repeat."""
    network = getattr(peer, "network", None)
    return list(network.all_tied_weights_keys) if isinstance(network, PreTrainedModel) else []


def by_size(pixel_values: Tensor, pixel_mask: Tensor | None) -> Iterator[Group]:
    """Which images of a batch are of one size, and their pixels without padding."""
    if pixel_mask is None or bool(pixel_mask.all()):
        yield list(range(len(pixel_values))), pixel_values
        return
    sizes = BatchSizes.of_mask(pixel_mask)
    groups: dict[tuple[int, int], list[int]] = {}
    for image, key in enumerate(zip(sizes.height.tolist(), sizes.width.tolist(), strict=True)):
        groups.setdefault(key, []).append(image)
    for (height, width), images in groups.items():
        yield images, pixel_values[images, :, :height, :width]
