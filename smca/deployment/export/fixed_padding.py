"""TensorFlow's 'SAME' convolutions with their padding written down, for sides that are multiples of all strides.

Such a layer works out from the size of its input what to pad; with symbolic sizes that kept torch's solver busy for
more than ten minutes. Where stride divides size it is always kernel - stride cells, the odd one at the far side.
"""

from __future__ import annotations

from typing import cast

from timm.layers import Conv2dSame
from torch import nn


def with_fixed_padding(network: nn.Module) -> nn.Module:
    """`network` with every such convolution replaced; what looked on in front of it does so still."""
    for name, own in list(network.named_modules()):
        if isinstance(own, Conv2dSame):
            fixed = nn.Sequential(nn.ZeroPad2d(cast(tuple[int, int, int, int], _padding(own))), _plain(own))
            fixed._forward_pre_hooks.update(own._forward_pre_hooks)
            network.set_submodule(name, fixed)
    return network


def _padding(conv: nn.Conv2d) -> tuple[int, ...]:
    """Cells to add at the left, right, top and bottom."""
    padding: list[int] = []
    for axis in (1, 0):
        total = max((conv.kernel_size[axis] - 1) * conv.dilation[axis] + 1 - conv.stride[axis], 0)
        padding += [total // 2, total - total // 2]
    return tuple(padding)


def _plain(conv: nn.Conv2d) -> nn.Conv2d:
    """The same weights in a convolution that pads nothing."""
    kernel, stride, dilation = (cast(tuple[int, int], each) for each in (conv.kernel_size, conv.stride, conv.dilation))
    plain = nn.Conv2d(conv.in_channels, conv.out_channels, kernel, stride, 0, dilation, conv.groups)
    plain.weight, plain.bias = conv.weight, conv.bias
    return plain
