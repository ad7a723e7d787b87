"""`SmcaConfig`: every switch of the paper, typed and checked; each combination is legal.

What a switch does not use is ignored: `modulation="none"` ignores `spread`, and with `box_prior=False` too it is
DETR. Defaults are the paper's multi-scale model (R50, C4/C5/C6, encoder 2 intra - 1 multi - 2 intra); the fields from
`spread_form` to `level_factors` name where the paper, the authors' code and this project differ.

Raises `ValueError` (wrapped by transformers' strict dataclasses) naming what was found and what is allowed.
"""

import itertools
import math
from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from smca.errors import ConfigurationError, nearest

LEVELS = ("c3", "c4", "c5", "c6")
BLOCKS = ("intra", "multi", "depthwise")
LIMIT = 100_000
MOST = {
    "d_model": 8192,
    "num_heads": 1024,
    "ffn_dim": 65_536,
    "decoder_layers": 100,
    "num_queries": 20_000,
    "centre_layers": 100,
    "query_groups": 100,
}
MOST_LAYERS, WIDEST, MOST_WEIGHTS = 100, 8192, 2_000_000_000
_ALSO_ACCEPTED = {
    "num_labels",
    "name_or_path",
    "torch_dtype",
    "attn_implementation",
    "model_type",
    "output_attentions",
}


@strict
class SmcaConfig(PreTrainedConfig):
    r"""
    backbone: a torchvision ResNet ("resnet50"), "plain" (ours, small) or "timm/NAME" (any timm feature extractor).
    backbone_norm: "frozen" (statistics and scale are constants), "batch" or "layer" (each cell by itself; not timm).
    backbone_widths: channels of the "plain" backbone at strides 2, 4, 8, 16, 32.
    backbone_blocks: residual blocks of the "plain" backbone at strides 8, 16, 32.
    dilation: DC5, the last stage dilated to stride 16.
    frozen_stages: how many leading stages never train (2 = stem and first stage, as DETR).
    levels: feature levels, fine to coarse, of "c3" (stride 8) ... "c6" (3x3 stride-2 convolution on C5).
    encoder: blocks in order, each "intra" (inside every level), "multi" (over all levels) or "depthwise" (convolutions
        inside and between neighbouring levels; released multi-scale code).
    halve_finest: after the encoder a stride-2 convolution brings the finest level onto the grid of the next one
        (released multi-scale code, whose finest level has stride 8).
    shared_attention, shared_ffn: whether all levels share those weights of the encoder ("attention" is whatever mixes).
    d_model, num_heads, ffn_dim, decoder_layers, num_queries: widths and counts.
    query_groups: groups of num_queries queries in training, each matched and supervised as if it were alone; the first
        one predicts (Group DETR, Chen et al., ICCV 2023; the paper has one).
    encoder_heads: heads of the encoder's attention; None: num_heads, as the paper.
    dropout: on sub-layer outputs; attention_dropout: on attention weights (above 0 it forbids the fused CPU kernel).
    pre_norm: normalise before each sub-layer instead of after it.
    modulation: "none", "head-shared" (E4) or "multi-head" (E6).
    spread: "fixed" (= 1), "single" (s_w = s_h) or "independent" (E3); "product" has a third one, of dx^2 dy^2 (released
        code only; it always runs in the explicit form).
    bandwidth: beta of E4.
    scale_selection: E7; without it every level counts alike.
    box_prior: whether the centre's logit is added to the box (E9).
    recentre: from the second decoder layer on a query looks from the box the layer before predicted (ours; the paper
        keeps layer 0's, which is the same for every image).
    spread_form: "width", log G = -d^2 / (beta s^2) (paper) or "inverse-width", log G = -s^2 d^2 / beta (released code).
    cell_position: "backbone", a cell lies where the backbone's receptive fields are centred (ours) or "integer",
        cell i lies at i (released code).
    query_norm: LayerNorm on target + query position before the modulation heads (released code; ours too).
    level_factors: factor of the squared distance per level; None means 1 everywhere (paper).
    class_loss: "focal" (sigmoid, exactly num_labels outputs) or "softmax" (one more output: no object).
    class_weight, box_weight, giou_weight: weights of the loss and costs of the matching (E10).
    no_object_weight: weight of "no object" in the softmax loss.
    threshold: score above which a detection is shown; training sets it to the best F1 on val.
    """

    model_type = "smca"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "num_attention_heads": "num_heads",
        "num_hidden_layers": "decoder_layers",
    }

    backbone: str = "resnet50"
    backbone_norm: Literal["frozen", "batch", "layer"] = "frozen"
    backbone_widths: tuple[int, ...] | list[int] = (24, 48, 96, 160, 256)
    backbone_blocks: tuple[int, ...] | list[int] = (1, 2, 2)
    dilation: bool = False
    frozen_stages: int = 2
    levels: tuple[str, ...] | list[str] = ("c4", "c5", "c6")
    encoder: tuple[str, ...] | list[str] = ("intra", "intra", "multi", "intra", "intra")
    halve_finest: bool = False
    shared_attention: bool = True
    shared_ffn: bool = True
    d_model: int = 256
    num_heads: int = 8
    encoder_heads: int | None = None
    ffn_dim: int = 1024
    decoder_layers: int = 6
    num_queries: int = 300
    query_groups: int = 1
    dropout: float | int = 0.1
    attention_dropout: float | int = 0.0
    pre_norm: bool = False
    modulation: Literal["none", "head-shared", "multi-head"] = "multi-head"
    spread: Literal["fixed", "single", "independent", "product"] = "independent"
    bandwidth: float | int = 8.0
    scale_selection: bool = True
    box_prior: bool = True
    recentre: bool = False
    spread_form: Literal["width", "inverse-width"] = "width"
    cell_position: Literal["backbone", "integer"] = "backbone"
    query_norm: bool = True
    centre_layers: int = 3
    level_factors: tuple[float | int, ...] | list[float | int] | None = None
    class_loss: Literal["focal", "softmax"] = "focal"
    class_weight: float | int = 2.0
    box_weight: float | int = 5.0
    giou_weight: float | int = 2.0
    no_object_weight: float | int = 0.1
    threshold: float | int = 0.5

    def __post_init__(self, **kwargs: Any) -> None:
        for name in ("backbone_widths", "backbone_blocks", "levels", "encoder", "level_factors"):
            value = getattr(self, name)
            setattr(self, name, None if value is None else tuple(value))
        if self.transformers_version is None:
            self._refuse_unknown(kwargs)
        if self.id2label is None:
            kwargs.setdefault("num_labels", 91)
        super().__post_init__(**kwargs)
        self.is_encoder_decoder = True  # to transformers: outputs name encoder and decoder apart

    def _refuse_unknown(self, options: dict[str, Any]) -> None:
        """A misspelt switch is an error; a saved config (it states its transformers_version) may hold more."""
        for name in options:
            if name not in _ALSO_ACCEPTED and not name.startswith("_"):
                fields = type(self).__dataclass_fields__
                raise ConfigurationError(f"SmcaConfig has no option '{name}'.{nearest(name, fields)}")

    def validate_levels(self) -> None:
        """Levels and encoder blocks are known, levels run from fine to coarse without repeats."""
        known = tuple(level for level in LEVELS if level in self.levels)
        if not self.levels or tuple(self.levels) != known:
            raise ValueError(f"levels is {self.levels}; allowed: any of {LEVELS}, fine to coarse, each once")
        if set(self.encoder) - set(BLOCKS):
            raise ValueError(f"encoder is {self.encoder}; allowed: a tuple of {BLOCKS}")
        if self.level_factors is not None and len(self.level_factors) != len(self.levels):
            raise ValueError(f"level_factors has {len(self.level_factors)} values for {len(self.levels)} levels")

    def validate_sizes(self) -> None:
        """Counts are positive and bounded, so that a stranger's config cannot ask for all the memory."""
        for name, most in MOST.items():
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: 1 to {most}")
        if len(self.encoder) > MOST_LAYERS:
            raise ValueError(f"encoder has {len(self.encoder)} blocks; allowed: up to {MOST_LAYERS}")
        heads = (self.num_heads, self.encoder_heads or self.num_heads)
        if min(heads) < 1 or any(self.d_model % count for count in (4, *heads)):
            raise ValueError(f"d_model is {self.d_model}; allowed: a multiple of 4 and of num_heads {heads}")
        if not 1 <= self.class_outputs <= LIMIT:
            raise ValueError(f"num_labels is {self.num_labels}; allowed: 1 to {LIMIT}")
        if self.backbone == "plain" and (len(self.backbone_widths), len(self.backbone_blocks)) != (5, 3):
            raise ValueError("backbone 'plain' wants five backbone_widths and three backbone_blocks")
        if not all(1 <= width <= WIDEST for width in self.backbone_widths):
            raise ValueError(f"backbone_widths is {self.backbone_widths}; allowed: 1 to {WIDEST} each")
        if not all(0 <= count <= MOST_LAYERS for count in self.backbone_blocks):
            raise ValueError(f"backbone_blocks is {self.backbone_blocks}; allowed: 0 to {MOST_LAYERS} each")
        if self._about > MOST_WEIGHTS:
            raise ValueError(f"the sizes make a model of about {self._about:.1e} weights; allowed: {MOST_WEIGHTS:.1e}")

    @property
    def _about(self) -> int:
        """How many weights there will be, but for the small ones and a library's backbone."""
        layers = (len(self.encoder) + self.decoder_layers) * self.d_model * (8 * self.d_model + 2 * self.ffn_dim)
        tables = (2 * self.num_queries * self.query_groups + self.class_outputs) * self.d_model
        centres = self.centre_layers * self.d_model**2
        if self.backbone != "plain":
            return layers + tables + centres
        widths = (3, *self.backbone_widths)
        blocks = zip(self.backbone_widths[2:], self.backbone_blocks, strict=True)
        strided = sum(9 * one * other for one, other in itertools.pairwise(widths))
        return layers + tables + centres + strided + sum(18 * count * width**2 for width, count in blocks)

    def validate_amounts(self) -> None:
        """Probabilities, weights and scales are finite and in their range."""
        if not (self.bandwidth > 0 and math.isfinite(self.bandwidth)):
            raise ValueError(f"bandwidth is {self.bandwidth}; allowed: above 0")
        for name in ("dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: 0 to 1")
        for name in ("class_weight", "box_weight", "giou_weight", "no_object_weight", "frozen_stages"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: 0 or more")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold is {self.threshold}; allowed: 0 to 1")
        if not all(0 <= factor < math.inf for factor in self.level_factors or ()):
            raise ValueError(f"level_factors is {self.level_factors}; allowed: 0 or more each")

    @property
    def class_outputs(self) -> int:
        """Columns of the class head: num_labels, and one for "no object" under softmax."""
        return int(self.num_labels or 0) + (self.class_loss == "softmax")

    @property
    def uses_centre(self) -> bool:
        """Whether anything needs E2: a modulation or the box prior."""
        return self.modulation != "none" or self.box_prior
