"""What the model returns: the last layer's predictions, the loss, and on request named intermediates, and states and
attentions of every layer under the names that transformers' detectors use.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers.utils import ModelOutput

from smca.modeling.geometry import LevelGeometry


@dataclass
class Intermediates:
    """What each query saw; L decoder layers, B images, N queries, M heads (1 if shared), one list entry a level.

    levels: name, stride and place of cell 0 of the levels the decoder read; centres [L, B, N, 2] normalised (x, y) or
    None; co_attention: probabilities [L, B, N, M, H, W]; plain_attention: the same without log G (what DETR would have
    seen); weight_maps: G in [0, 1], of the same shape; head_centres and sigmas [L, B, N, M, 2] (x, y): G's centre and
    standard deviation in cells; products [L, B, N, M]: A_xy of the "product" spread in 1/cells^4. Without modulation
    there is no G and these lists are empty, as products is with every other spread. scale_weights [L, B, N, levels] or
    None; all_logits [L, B, N, K]; all_boxes [L, B, N, 4].
    """

    levels: tuple[LevelGeometry, ...]
    centres: Tensor | None
    weight_maps: list[Tensor]
    head_centres: list[Tensor]
    sigmas: list[Tensor]
    products: list[Tensor]
    co_attention: list[Tensor]
    plain_attention: list[Tensor]
    scale_weights: Tensor | None
    all_logits: Tensor
    all_boxes: Tensor


@dataclass
class SmcaObjectDetectionOutput(ModelOutput):
    """loss []; loss_parts; logits [B, N, K]; pred_boxes [B, N, 4] (cx, cy, w, h) relative to the unpadded image.

    The S cells of all levels stand in one row, fine to coarse. encoder_hidden_states [B, S, C] and
    decoder_hidden_states [B, N, C] (as the heads read them): before the first layer and after each.
    encoder_attentions [B, M, S, S], decoder_attentions [B, M, N, N], cross_attentions [B, M, N, S] (scale weights
    included), one a layer: rows sum to 1.
    """

    loss: Tensor | None = None
    loss_parts: dict[str, Tensor] | None = None
    logits: Tensor | None = None
    pred_boxes: Tensor | None = None
    intermediates: Intermediates | None = None
    encoder_hidden_states: tuple[Tensor, ...] | None = None
    decoder_hidden_states: tuple[Tensor, ...] | None = None
    encoder_attentions: tuple[Tensor, ...] | None = None
    decoder_attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None
