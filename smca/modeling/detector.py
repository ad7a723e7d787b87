"""The facade: an image goes through backbone, projection, encoder, decoder and heads, as in the paper's figure.

    out = model(pixel_values=x, pixel_mask=m, labels=t)
    x [B, 3, H, W] normalised; m [B, H, W], 1 = image, in the upper left corner; None: no padding
    t = [{"class_labels": int64 [n], "boxes": float [n, 4] (cx, cy, w, h) relative to the unpadded image}, ...]
    out.loss [], out.logits [B, N, K], out.pred_boxes [B, N, 4]

An image's prediction does not depend on its batch. Loaded in bfloat16 or float16 the backbone alone is in it; prepared
for inference in one of them (`prepare_for_inference`) all products are, where no gradients are wanted. The attention
implementations of transformers are "sdpa", the fused kernels, and "eager", every attention written out.
Raises DataError when labels do not fit the model, ConfigurationError for checkpointing that would lose gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.utils import can_return_tuple

from smca.criterion.losses import LossWeights, SetCriterion
from smca.criterion.matching import MatchingCosts
from smca.errors import ConfigurationError
from smca.modeling.backbone import Backbone
from smca.modeling.configuration import SmcaConfig
from smca.modeling.decoder import Decoded, Decoder
from smca.modeling.encoder import Encoded, Encoder
from smca.modeling.geometry import BatchSizes
from smca.modeling.heads import BoxHead, ClassHead
from smca.modeling.initialization import initialize
from smca.modeling.input_projection import InputProjection, Tokens
from smca.modeling.outputs import Intermediates, SmcaObjectDetectionOutput
from smca.modeling.precision import autocast
from smca.modeling.weight_maps import log_weight_map

if TYPE_CHECKING:
    from smca.detections import Detections
    from smca.visualization.explanation import Explanation


COMPILATIONS = 16  # of one part, at most; torch runs what comes after uncompiled
FLOAT32_PARTS = ("input_projection", "encoder", "decoder", "class_head", "box_head")


class SmcaForObjectDetection(PreTrainedModel):
    """SMCA-DETR, its ablations and DETR, as `config` says."""

    config_class = SmcaConfig
    main_input_name = "pixel_values"
    base_model_prefix = ""
    accepts_loss_kwargs = False
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: SmcaConfig) -> None:
        super().__init__(config)
        self.backbone = Backbone(config)
        self.input_projection = InputProjection(config, self.backbone.levels)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.class_head = ClassHead(config.d_model, config.class_outputs, config.class_loss == "focal")
        self.box_head = BoxHead(config.d_model, config.box_prior)
        weights = (config.class_weight, config.box_weight, config.giou_weight)
        self.criterion = SetCriterion(
            config.class_loss, LossWeights(*weights), MatchingCosts(*weights), config.no_object_weight
        )
        self._keep_in_fp32_modules_strict = {*FLOAT32_PARTS}
        self.inference_type: torch.dtype | None = None
        for name in FLOAT32_PARTS:
            getattr(self, name).to(torch.promote_types(torch.get_default_dtype(), torch.float32))
        self.post_init()

    @torch.no_grad()
    def initialize_weights(self) -> None:
        """Called by transformers for a new model and for what a loaded one lacks."""
        initialize(self)

    def _set_gradient_checkpointing(
        self, enable: bool = True, gradient_checkpointing_func: Callable[..., Any] = checkpoint, every_n_layers: int = 1
    ) -> None:
        """Recompute encoder blocks and decoder layers in the backward pass instead of keeping what they computed.

        Called by transformers' activation_checkpointing_enable, and gradient_checkpointing_enable of before 5.23.
        """
        if getattr(gradient_checkpointing_func, "keywords", {}).get("use_reentrant"):
            raise ConfigurationError("use_reentrant is True; allowed: False (the reentrant kind would lose gradients)")
        super()._set_gradient_checkpointing(enable, gradient_checkpointing_func, every_n_layers)

    def prepare_for_inference(self, dtype: torch.dtype | None = None) -> None:
        """Look at images faster where no gradients are wanted: norms in the convolutions, channels last, `dtype`.

        What is trained and saved does not change. bfloat16 and float16 round scores and boxes; None does not.
        """
        self.inference_type = dtype
        self.backbone.fold_norms(dtype)

    def compile_for_any_size(self, backend: str | Callable[..., Any] = "inductor") -> None:
        """Run the repeated parts as compiled code, whatever the sizes of images and batches.

        Those are the backbone, an encoder block and a decoder layer. Each is compiled once for one image and once for
        several, with padding and without, in training and without, and at times again where two sizes that were equal
        no longer are: six to eight times in each mode. What stands between them, matching and losses are not compiled,
        nor is the backbone of a model that is prepared for inference: it runs a copy of its own (norm_folding.py).
        """
        parts = (self.backbone.body, *self.encoder.blocks, *self.decoder.layers)
        limit = torch._dynamo.config.recompile_limit  # of all parts together: their entry is the same code
        torch._dynamo.config.recompile_limit = max(limit, COMPILATIONS * len(parts))
        for part in parts:
            part.compile(dynamic=True, backend=backend)

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        pixel_mask: Tensor | None = None,
        labels: list[dict[str, Tensor]] | None = None,
        num_boxes: Tensor | None = None,
        intermediates: bool = False,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> SmcaObjectDetectionOutput:
        """`num_boxes` replaces the number of boxes that divides the loss; `intermediates` asks for what queries saw.

        output_attentions, output_hidden_states: whether the output has them; None: as the configuration says.
        """
        attentions = self.config.output_attentions if output_attentions is None else output_attentions
        states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        explicit = attentions or self.config._attn_implementation == "eager"
        inferring = not self.training and not torch.is_grad_enabled()
        with autocast(pixel_values.device, self.inference_type if inferring else None):
            tokens = self.encoder(self.tokens(pixel_values, pixel_mask), explicit, states)
            groups = self.config.query_groups if self.training and labels is not None else 1
            decoded = self.decoder(tokens, self.box_head, explicit or intermediates, groups=groups)
            logits = self.class_head(decoded.outputs)
            boxes = self.box_head(decoded.outputs, decoded.centre_logits)
        queries = self.config.num_queries
        output = SmcaObjectDetectionOutput(logits=logits[-1, :, :queries], pred_boxes=boxes[-1, :, :queries])
        if labels is not None:
            output.loss, output.loss_parts = self.criterion(logits, boxes, labels, num_boxes, groups)
        if intermediates:
            output.intermediates = self._intermediates(tokens, decoded, logits, boxes)
        if states:
            output.encoder_hidden_states = tokens.states
            output.decoder_hidden_states = (torch.zeros_like(decoded.outputs[0]), *decoded.outputs)
        if attentions:
            self._add_attentions(output, tokens, decoded)
        return output

    def tokens(self, pixel_values: Tensor, pixel_mask: Tensor | None) -> Tokens:
        """The feature levels of a batch as the encoder reads them."""
        batch, _, height, width = pixel_values.shape
        # A graph for any batch cannot look at the mask of one, and always heeds it.
        if pixel_mask is None or (not torch.compiler.is_compiling() and bool(pixel_mask.all())):
            full = torch.full((batch,), height, device=pixel_values.device)
            sizes, padded = BatchSizes(height=full, width=torch.full_like(full, width)), False
        else:
            sizes, padded = BatchSizes.of_mask(pixel_mask), True
        fill = (-width % self.backbone.multiple, -height % self.backbone.multiple)
        pixel_values = F.pad(pixel_values.to(self.dtype), (0, fill[0], 0, fill[1]))
        padded = padded or any(fill)
        maps = self.backbone(pixel_values, sizes if padded else None)
        return self.input_projection(maps, sizes, padded)

    @staticmethod
    def _add_attentions(output: SmcaObjectDetectionOutput, tokens: Encoded, decoded: Decoded) -> None:
        output.encoder_attentions = tokens.attentions
        output.decoder_attentions = tuple(
            trace.self_attention for trace in decoded.traces if trace.self_attention is not None
        )
        output.cross_attentions = tuple(trace.whole_co_attention() for trace in decoded.traces)

    @staticmethod
    def _intermediates(tokens: Tokens, decoded: Decoded, logits: Tensor, boxes: Tensor) -> Intermediates:
        traces = decoded.traces
        maps = list(zip(*(trace.weight_maps or [] for trace in traces), strict=True))
        scale_weights = [trace.scale_weights for trace in traces if trace.scale_weights is not None]
        return Intermediates(
            levels=tokens.levels,
            centres=None if decoded.centre_logits is None else decoded.centre_logits.sigmoid(),
            weight_maps=[
                torch.stack([log_weight_map(one, grid).exp() for one in layers])
                for layers, grid in zip(maps, tokens.grids, strict=False)
            ],
            head_centres=[torch.stack([one.centre for one in layers]) for layers in maps],
            sigmas=[torch.stack([one.sigma for one in layers]) for layers in maps],
            products=[
                torch.stack([one.product for one in layers if one.product is not None])
                for layers in maps
                if layers[0].product is not None
            ],
            co_attention=_by_level([trace.co_attention for trace in traces]),
            plain_attention=_by_level([trace.plain_attention for trace in traces]),
            scale_weights=torch.stack(scale_weights) if scale_weights else None,
            all_logits=logits,
            all_boxes=boxes,
        )

    def predict(
        self,
        images: Sequence[str | Path | Image.Image | np.ndarray | Tensor],
        threshold: float | None = None,
        tile: int | bool = False,
    ) -> list[Detections]:
        """Detections above `threshold` (the model's own by default) in files, PIL images or [H, W, 3] arrays.

        tile: see images larger than that many pixels in tiles too; True for the size the model was trained on.
        """
        from smca.inference.predict import predict_with

        return predict_with(self, images, threshold, tile)

    def explain(
        self, image: str | Path | Image.Image | np.ndarray | Tensor, threshold: float | None = None, most: int = 8
    ) -> Explanation:
        """What the queries of the best `most` detections in a picture saw, as arrays, pictures and files."""
        from smca.inference.explain import explain

        return explain(self, image, threshold, most)


def _by_level(layers: list[list[Tensor]]) -> list[Tensor]:
    """Of each layer its levels' tensors -> of each level its layers' [L, ...]."""
    return [torch.stack(level) for level in zip(*layers, strict=True)]
