"""Residual blocks whose ReLUs and sum are computed inside the convolutions, as inference on a CPU runs them.

    relu(conv_n(... relu(conv_1(x))) + shortcut(x))         of torchvision's and timm's ResNets, norms folded before

A ReLU or a sum of its own reads and writes a whole map again, which takes as long as the convolutions do (log.md). The
calls are those that torch.compile makes for oneDNN; where they are not to be had (CUDA, float64, gradients) the same is
computed step by step. Values differ by rounding alone: the sum is not rounded to bfloat16 before its ReLU.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from timm.models import resnet as timm_resnet
from torch import Tensor, nn
from torchvision.models import resnet
from torchvision.models._utils import IntermediateLayerGetter

from smca.modeling.precision import cpu_has_bfloat16

BLOCKS = (resnet.BasicBlock, resnet.Bottleneck, timm_resnet.BasicBlock, timm_resnet.Bottleneck)
NOTHING = (nn.Identity, type(None))


class ConvolutionReLU(nn.Module):
    """relu(conv(x)) or relu(conv(x) + other), with the parameters and hooks of `conv`."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self._forward_pre_hooks.update(conv._forward_pre_hooks)
        conv._forward_pre_hooks.clear()

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """`other` is overwritten where no gradients are wanted."""
        conv = self.conv
        if not _onednn(x):
            return F.relu(conv(x) if other is None else conv(x) + other)
        shape = (conv.weight, conv.bias, conv.padding, conv.stride, conv.dilation, conv.groups)
        if other is None:
            return torch.ops.mkldnn._convolution_pointwise(x, *shape, "relu", [], "")
        return torch.ops.mkldnn._convolution_pointwise_.binary(other, x, *shape, "add", 1.0, "relu", [], "")


def _onednn(x: Tensor) -> bool:
    if x.device.type != "cpu" or torch.is_grad_enabled() or not torch.backends.mkldnn.is_available():
        return False
    fits = x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and cpu_has_bfloat16())
    return fits and bool(torch.backends.mkldnn.enabled)


class FusedBlock(nn.Module):
    """A residual block of convolutions; `follows`: another one made its input, which nothing else will read."""

    def __init__(self, convolutions: list[nn.Conv2d], shortcut: nn.Module | None, follows: bool) -> None:
        super().__init__()
        self.follows = follows
        self.convolutions = nn.ModuleList(map(ConvolutionReLU, convolutions))
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        *inner, last = self.convolutions
        start, other = x, x if self.shortcut is None else self.shortcut(x)
        for convolution in inner:
            x = convolution(x)
        return last(x, other.clone() if other is start and not self.follows else other)


def with_fused_blocks(network: nn.Module) -> nn.Module:
    """`network` with every residual block replaced that is nothing but convolutions, ReLUs and a sum, and every
    convolution and the ReLU behind it in a sequence.
    """
    for name, block in list(network.named_modules()):
        if isinstance(block, BLOCKS) and _is_plain(block):
            convolutions = [part for key, part in block.named_children() if key.startswith("conv")]
            follows = _before(network, name) is FusedBlock
            network.set_submodule(name, FusedBlock(cast(list[nn.Conv2d], convolutions), block.downsample, follows))
    for sequence in network.modules():
        if isinstance(sequence, nn.Sequential | IntermediateLayerGetter):
            _fuse_neighbours(sequence)
    return network


def _fuse_neighbours(sequence: nn.Sequential | IntermediateLayerGetter) -> None:
    parts = [(name, part) for name, part in sequence.named_children() if not _is_empty(part)]
    for (name, part), (after, activation) in pairwise(parts):
        if _is_simple(part) and isinstance(activation, nn.ReLU) and not activation._forward_hooks:
            sequence._modules[name] = ConvolutionReLU(cast(nn.Conv2d, part))
            sequence._modules[after] = nn.Identity()


def _is_empty(part: nn.Module) -> bool:
    return isinstance(part, nn.Sequential) and not len(part)


def _is_simple(part: nn.Module) -> bool:
    if type(part) is not nn.Conv2d or part._forward_hooks:
        return False
    return part.padding_mode == "zeros" and not isinstance(part.padding, str)


def _before(network: nn.Module, name: str) -> type[nn.Module] | None:
    """What runs before a module of a Sequential, in that same Sequential."""
    parent, _, own = name.rpartition(".")
    stage = network.get_submodule(parent)
    place = list(dict(stage.named_children())).index(own)
    return type(list(stage.children())[place - 1]) if isinstance(stage, nn.Sequential) and place else None


def _is_plain(block: nn.Module) -> bool:
    """Whether norms are gone, activations are ReLUs, nothing else is done in between, and nobody looks on."""
    if block._forward_hooks or block._forward_pre_hooks:
        return False
    for name, part in block.named_children():
        if name.startswith("conv"):
            fine = _is_simple(part)
        elif name.startswith("bn"):
            fine = _is_empty(part)
        elif name.startswith(("relu", "act")):
            fine = isinstance(part, nn.ReLU)
        else:
            fine = name == "downsample" or isinstance(part, NOTHING)
        if not fine:
            return False
    return True
