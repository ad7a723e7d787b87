"""Keeps padding out of a convolutional network: what a kernel above 1x1 would read beyond an image is zero, or minus
infinity where it looks for a maximum, just as at the border of an image alone.

At stride s an image has ceil(size / s) valid cells, by arithmetic, never by resizing a mask. Source: own; measured
against each image run alone (tests/modeling).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from timm.layers.pool2d_same import MaxPool2dSame
from torch import Tensor, nn

from smca.modeling.geometry import BatchSizes
from smca.modeling.receptive_field import SpatialLayer

_GLOBAL = (
    "squeezeexcite",
    "semodule",
    "effectivese",
    "attention",
    "attn",
    "mla",
    "groupnorm",
    "globalresponse",
    "globalcontext",
)


def reads_everywhere(network: nn.Module) -> bool:
    """Whether a layer mixes all cells of an image (squeeze-and-excite, group norm, attention), padding included."""
    names = {type(module).__name__.lower() for module in network.modules()}
    return any(part in name for name in names for part in _GLOBAL)


def _ignores_border(module: nn.Module) -> bool:
    """Whether a maximum is taken over the image alone: a pool that pads itself, not one behind explicit zeros."""
    return isinstance(module, MaxPool2dSame) or (isinstance(module, nn.MaxPool2d) and module.padding not in (0, (0, 0)))


class PaddingGuard:
    """Clears padding in front of every spatial layer of a network while `active`; costs nothing otherwise."""

    def __init__(self, layers: list[SpatialLayer]) -> None:
        self._sizes: BatchSizes | None = None
        self._masks: dict[tuple[int, torch.Size, torch.dtype], Tensor] = {}
        for layer in layers:
            maximum = _ignores_border(layer.module)
            layer.module.register_forward_pre_hook(partial(self._clear, layer.before, -torch.inf if maximum else 0.0))
            if maximum:
                layer.module.register_forward_hook(partial(self._clear_output, layer.after))

    @contextmanager
    def active(self, sizes: BatchSizes | None) -> Iterator[None]:
        """Guard one forward pass over a batch of images of `sizes`; None: there is no padding."""
        self._sizes = sizes
        try:
            yield
        finally:
            self._sizes = None
            self._masks = {}

    def _clear(
        self, stride: int, fill: float, module: nn.Module, inputs: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...] | None:
        if self._sizes is None:
            return None
        image = self._image(stride, inputs[0], self._sizes)
        cleared = inputs[0].masked_fill(image == 0, fill) if fill else inputs[0] * image
        return (cleared, *inputs[1:])

    def _clear_output(
        self, stride: int, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
    ) -> Tensor | None:
        if self._sizes is None:
            return None
        return output.masked_fill(self._image(stride, output, self._sizes) == 0, 0.0)

    def _image(self, stride: int, features: Tensor, sizes: BatchSizes) -> Tensor:
        """1 in the cells of each image, 0 in padding: [B, 1, H, W] of the features' type (a product is the fastest)."""
        if torch.compiler.is_compiling():  # a compiler drops repeated work itself, and would compile for every key
            return _mask(stride, features, sizes)
        key = (stride, features.shape[-2:], features.dtype)
        if key not in self._masks:
            self._masks[key] = _mask(stride, features, sizes)
        return self._masks[key]


def _mask(stride: int, features: Tensor, sizes: BatchSizes) -> Tensor:
    return sizes.cells(stride).mask(*features.shape[-2:])[:, None].to(features.dtype)
