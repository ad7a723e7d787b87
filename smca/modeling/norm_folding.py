"""Batch norms folded into the convolutions before them: what inference runs in place of a backbone's network.

    norm(conv(x, W)) = conv(x, W g) + b - mean g        g = weight / sqrt(variance + eps), a channel at a time

Which norm follows which convolution is seen on an image without content, not guessed from names. The network that is
trained and saved stays as it is: the folded one is a copy, made when it is first needed, thrown away when training
begins or weights or their place change. Values differ by rounding alone.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.ops import FrozenBatchNorm2d

from smca.modeling.fused_blocks import with_fused_blocks
from smca.modeling.receptive_field import run_without_content

Norm = nn.BatchNorm2d | FrozenBatchNorm2d


def norms_behind_convolutions(network: nn.Module) -> dict[str, str]:
    """Name of a convolution -> name of the norm that alone reads what it makes."""
    names = {module: name for name, module in network.named_modules()}
    made: dict[int, nn.Module] = {}
    found: dict[str, str] = {}
    alive: list[Tensor] = []  # else another tensor could take a counted one's place

    def leaving(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        made[id(output)] = module
        alive.append(output)

    def entering(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if id(inputs[0]) in made:
            found[names[made[id(inputs[0])]]] = names[module]

    hooks = [m.register_forward_hook(leaving) for m in network.modules() if isinstance(m, nn.Conv2d)]
    hooks += [m.register_forward_pre_hook(entering) for m in network.modules() if isinstance(m, Norm)]
    run_without_content(network)
    for hook in hooks:
        hook.remove()
    return found


def folded(network: nn.Module, shared: tuple[object, ...] = ()) -> nn.Module:
    """A copy of `network` in evaluation mode without the norms; `shared`: objects that it holds and does not copy."""
    pairs = norms_behind_convolutions(network)
    twin = copy.deepcopy(network, {id(one): one for one in shared}).eval().requires_grad_(False)
    for conv_name, norm_name in pairs.items():
        conv, norm = cast(nn.Conv2d, twin.get_submodule(conv_name)), twin.get_submodule(norm_name)
        mean, variance, weight, bias = (
            getattr(norm, part) for part in ("running_mean", "running_var", "weight", "bias")
        )
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, mean, variance, cast(float, norm.eps), weight, bias
        )
        rest = [getattr(norm, part, nn.Identity()) for part in ("drop", "act")]
        twin.set_submodule(norm_name, nn.Sequential(*(part for part in rest if not isinstance(part, nn.Identity))))
    return twin.requires_grad_(False)


class InferenceNetwork:
    """The folded copy of a network, in `dtype` (None: the network's own) and channels last, made when first needed."""

    def __init__(self, network: nn.Module, shared: tuple[object, ...], dtype: torch.dtype | None) -> None:
        self.network = network
        self.shared = shared
        self.dtype = dtype
        self._copy: nn.Module | None = None

    def ready(self) -> nn.Module:
        """The copy as the network's weights are now."""
        if self._copy is None:
            copied = with_fused_blocks(folded(self.network, self.shared))
            self._copy = copied.to(memory_format=torch.channels_last).to(dtype=self.dtype)
        return self._copy

    def forget(self) -> None:
        """Drop the copy: the network changes."""
        self._copy = None
