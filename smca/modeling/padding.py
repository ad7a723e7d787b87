"""Keeps padding out of a convolutional network: what a kernel above 1x1 would read beyond an image is zero.

At stride s an image has ceil(size / s) valid cells, by arithmetic, never by resizing a mask. Source: own; measured
against each image run alone (tests/modeling).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

from smca.modeling.geometry import BatchSizes
from smca.modeling.receptive_field import SpatialLayer

_GLOBAL = ("SqueezeExcite", "SEModule", "EffectiveSE", "Attention", "Attn", "GroupNorm", "GlobalResponse", "GlobalContext")


def reads_everywhere(network: nn.Module) -> bool:
    """Whether a layer mixes all cells of an image (squeeze-and-excite, group norm, attention), padding included."""
    names = {type(module).__name__ for module in network.modules()}
    return any(part in name for name in names for part in _GLOBAL)


class PaddingGuard:
    """Zeroes padding in front of every spatial layer of a network while `active`; costs nothing otherwise."""

    def __init__(self, layers: list[SpatialLayer]) -> None:
        self._sizes: BatchSizes | None = None
        self._masks: dict[int, Tensor] = {}
        for layer in layers:
            layer.module.register_forward_pre_hook(partial(self._clear, layer.before))

    @contextmanager
    def active(self, sizes: BatchSizes | None) -> Iterator[None]:
        """Guard one forward pass over a batch of images of `sizes`; None: there is no padding."""
        self._sizes = sizes
        try:
            yield
        finally:
            self._sizes = None
            self._masks = {}

    def _clear(self, stride: int, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if self._sizes is None:
            return None
        if stride not in self._masks:
            self._masks[stride] = self._sizes.cells(stride).mask(*inputs[0].shape[-2:])[:, None]
        return (inputs[0] * self._masks[stride], *inputs[1:])
