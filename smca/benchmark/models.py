"""Whole models: ours against the same with modulation off, and against transformers' DETR and Deformable DETR.

All have random weights, the same backbone network (ResNet-50, or ResNet-18 in "tiny"), queries, width and layers, look
at the same pixels without padding, and learn from the same boxes with every decoder layer supervised. Ours run as
`smca train` and `smca.load` run them; theirs as transformers makes them. A training step is forward, matching, loss,
backward and AdamW. Deformable DETR has four levels and its own encoder and decoder widths.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DeformableDetrConfig, DeformableDetrForObjectDetection, DetrConfig, DetrForObjectDetection

from smca.benchmark.timing import Clock, Ratio, Work, in_turn, ratio_of, wall_clock
from smca.modeling.configuration import SmcaConfig
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.precision import has_bfloat16
from smca.sizes import ImageSize
from smca.training.info import count_gmacs
from smca.training.recipes.rows import SINGLE_SCALE

CLASSES = 91
BOXES = 20
PRODUCT = 2048
PER_ROUND = 4.0  # seconds of all cases of a group, at least
MULTI_SCALE_FFN = 1024  # the paper's, and Deformable DETR's
DETR, DEFORMABLE = "transformers' DETR", "transformers' Deformable DETR"
WITHOUT = "the same, modulation off"


@dataclass(frozen=True)
class Scale:
    """How large the models are that are compared."""

    name: str
    backbone: str
    image: ImageSize
    width: int
    ffn: int
    encoder: tuple[str, ...]
    single_encoder: int
    decoder: int
    queries: int

    @property
    def setting(self) -> str:
        """For the table."""
        return f"{self.name}, {self.image.height}x{self.image.width}, {self.queries} queries"


R50 = Scale("R50", "resnet50", ImageSize(height=800, width=1066), 256, 2048, tuple(SmcaConfig().encoder), 6, 6, 300)
TINY = Scale("tiny", "resnet18", ImageSize(height=320, width=427), 96, 192, ("intra", "multi"), 2, 3, 48)
SCALES = {"r50": R50, "tiny": TINY}


def ours(scale: Scale, multi: bool, modulation: str = "multi-head") -> SmcaForObjectDetection:
    """SMCA of that size with three levels or one, attention dropout off."""
    several = {"encoder": scale.encoder, "ffn_dim": min(scale.ffn, MULTI_SCALE_FFN)}
    single = {**SINGLE_SCALE, "encoder": ("intra",) * scale.single_encoder, "ffn_dim": scale.ffn}
    sizes: dict[str, Any] = {"d_model": scale.width, "decoder_layers": scale.decoder, "num_queries": scale.queries}
    own = {"backbone": scale.backbone, "modulation": modulation, "attention_dropout": 0.0}
    switches: dict[str, Any] = {**(several if multi else single), **sizes, **own}
    model = SmcaForObjectDetection(SmcaConfig(**switches))
    model.backbone.to(memory_format=torch.channels_last)
    return model


def theirs(scale: Scale, deformable: bool) -> nn.Module:
    """Transformers' DETR or Deformable DETR of that size."""
    last = [2, 3, 4] if deformable else [4]
    backbone = {
        "model_type": "timm_backbone",
        "backbone": scale.backbone,
        "features_only": True,
        "use_pretrained_backbone": False,
        "out_indices": last,
    }
    layers = {"encoder_layers": scale.single_encoder, "decoder_layers": scale.decoder}
    ffn = {
        f"{part}_ffn_dim": min(scale.ffn, MULTI_SCALE_FFN) if deformable else scale.ffn
        for part in ("encoder", "decoder")
    }
    common = {"d_model": scale.width, "num_queries": scale.queries, "num_labels": CLASSES, "auxiliary_loss": True}
    switches = {"backbone_config": backbone, **layers, **ffn, **common}
    if deformable:
        return DeformableDetrForObjectDetection(DeformableDetrConfig.from_dict(switches))
    return DetrForObjectDetection(DetrConfig.from_dict(switches))


def looking(model: nn.Module, pixels: Tensor) -> Work:
    """A call that predicts."""
    model.eval()

    def work() -> object:
        with torch.no_grad():
            return model(pixel_values=pixels)

    return work


def learning(model: nn.Module, pixels: Tensor) -> Work:
    """A call that trains by one step."""
    draw = torch.Generator().manual_seed(0)
    boxes = torch.cat([torch.rand(BOXES, 2, generator=draw), 0.02 + 0.3 * torch.rand(BOXES, 2, generator=draw)], dim=1)
    classes = torch.randint(0, CLASSES, (BOXES,), generator=draw)
    labels = [{"class_labels": classes.to(pixels.device), "boxes": boxes.to(pixels.device)} for _ in pixels]
    optimiser = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-6, fused=True)

    def work() -> None:
        model.train()
        optimiser.zero_grad()
        model(pixel_values=pixels, labels=labels).loss.backward()
        optimiser.step()

    return work


def decoding(model: SmcaForObjectDetection, pixels: Tensor) -> Work:
    """A call that runs the decoder alone, over tokens made before."""
    model.eval()
    with torch.no_grad():
        tokens = model.encoder(model.tokens(pixels, None), False)

    def work() -> object:
        with torch.no_grad():
            return model.decoder(tokens, model.box_head)

    return work


def multiplying(model: SmcaForObjectDetection, pixels: Tensor, dtype: torch.dtype) -> Work:
    """A call that does as many multiply-adds as the model in plain matrix products: what the machine can do at best."""
    times = math.ceil(1e9 * sum(count_gmacs(model, pixels).values()) / PRODUCT**3)
    one, other = (torch.randn(PRODUCT, PRODUCT, device=pixels.device).to(dtype) for _ in range(2))
    return lambda: [one @ other for _ in range(times)]


Make = Callable[[Any, Tensor], Work]


class Comparison:
    """Models of one size on one device, timed in turn."""

    def __init__(self, scale: Scale, rounds: int, device: str = "cpu", clock: Clock = wall_clock) -> None:
        self.scale, self.rounds, self.device, self.clock = scale, rounds, device, clock
        self.pixels = torch.randn(1, 3, *scale.image, generator=torch.Generator().manual_seed(0)).to(device)

    def of(self, group: str, models: Mapping[str, nn.Module], make: Make, limits: Mapping[str, float]) -> list[Ratio]:
        """All but the last against the last."""
        cases = {name: make(model.to(self.device), self.pixels) for name, model in models.items()}
        return self.timed(group, cases, limits)

    def timed(self, group: str, cases: Mapping[str, Work], limits: Mapping[str, float]) -> list[Ratio]:
        """All but the last case against the last."""
        seconds = in_turn(cases, self.rounds, self.clock, at_least=PER_ROUND * self.rounds)
        *others, against = cases
        bounds = limits if self.scale is R50 else {}
        return [ratio_of(seconds, name, against, group, self.scale.setting, bounds.get(name)) for name in others]

    def modulation(self) -> list[Ratio]:
        """What the modulation costs."""
        found = []
        for kind, multi in (("single-scale", False), ("multi-scale", True)):
            name = f"{kind} SMCA"
            models = {name: ours(self.scale, multi), WITHOUT: ours(self.scale, multi, "none")}
            found += self.of("training step", models, learning, {} if multi else {name: 1.05})
            found += self.of("forward", models, looking, {})
            found += self.of("decoder, forward", models, decoding, {name: 1.25} if multi else {})
        return found

    def peers(self) -> list[Ratio]:
        """Against transformers' models."""
        found = []
        for name, multi, peer in (("single-scale SMCA", False, DETR), ("multi-scale SMCA", True, DEFORMABLE)):
            models = {name: ours(self.scale, multi), peer: theirs(self.scale, deformable=multi)}
            found += self.of("forward", models, looking, {name: 1.0})
            found += self.of("training step", models, learning, {name: 1.0} if multi else {})
        return found

    def backends(self) -> list[Ratio]:
        """Ways to run single-scale SMCA for inference, against transformers' DETR in eager float32."""
        plain = ours(self.scale, multi=False)
        models: dict[str, nn.Module] = {"as trained": plain}
        types: dict[str, torch.dtype | None] = {"loaded, fp32": None}
        if has_bfloat16(torch.device(self.device)):
            types["loaded, bf16"] = torch.bfloat16
        for name, dtype in types.items():
            model = ours(self.scale, multi=False)
            model.prepare_for_inference(dtype)
            models[name] = model
        last = theirs(self.scale, deformable=False).to(self.device)
        cases = {name: looking(model.to(self.device), self.pixels) for name, model in models.items()}
        for name, dtype in types.items():
            floor = multiplying(plain, self.pixels, dtype or torch.float32)
            cases[f"matrix products alone, {name[-4:]}"] = floor
        cases[DETR] = looking(last, self.pixels)
        return self.timed("inference", cases, {"loaded, fp32": 0.55, "loaded, bf16": 0.25})
