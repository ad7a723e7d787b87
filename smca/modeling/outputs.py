"""What the model returns: the last layer's predictions, the loss, and named intermediates on request."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers.utils import ModelOutput


@dataclass
class Intermediates:
    """What each query saw; L decoder layers, B images, N queries, M heads (1 if shared), one list entry a level.

    centres [L, B, N, 2] normalised (x, y) or None; weight_maps (G in [0, 1]) and co_attention (probabilities)
    [L, B, N, M, H, W]; scale_weights [L, B, N, levels] or None; all_logits [L, B, N, K]; all_boxes [L, B, N, 4].
    """

    level_names: tuple[str, ...]
    centres: Tensor | None
    weight_maps: list[Tensor]
    co_attention: list[Tensor]
    scale_weights: Tensor | None
    all_logits: Tensor
    all_boxes: Tensor


@dataclass
class SmcaObjectDetectionOutput(ModelOutput):
    """loss []; loss_parts; logits [B, N, K]; pred_boxes [B, N, 4] (cx, cy, w, h) relative to the unpadded image."""

    loss: Tensor | None = None
    loss_parts: dict[str, Tensor] | None = None
    logits: Tensor | None = None
    pred_boxes: Tensor | None = None
    intermediates: Intermediates | None = None
