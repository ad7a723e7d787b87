"""Batch norm with constant statistics and weights, as the paper's ResNets have it ("frozen").

y = (x - mean) / sqrt(variance + eps) * weight + bias, all four constants loaded, none trained. torchvision's and timm's
own modules write it as a product and a sum, two passes over the map; here it is the one fused pass of batch norm in
evaluation (on a CPU, channels last, the product and sum took ten times as long). State and values are theirs.
"""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d


class FrozenNorm(FrozenBatchNorm2d):
    """[B, C, H, W] -> [B, C, H, W]; then `drop` and `act`, which are timm's, where a norm has them."""

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__(num_features, eps)
        self.drop: nn.Module = nn.Identity()
        self.act: nn.Module = nn.Identity()

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> FrozenNorm:
        """What `norm` computes in evaluation now."""
        frozen = cls(norm.num_features, norm.eps)
        frozen.load_state_dict(norm.state_dict(), strict=False)  # without weights of its own: one and zero
        for name in ("drop", "act"):
            setattr(frozen, name, getattr(norm, name, nn.Identity()))
        return frozen

    def forward(self, x: Tensor) -> Tensor:
        mean, variance, weight, bias = (
            cast(Tensor, buffer) for buffer in (self.running_mean, self.running_var, self.weight, self.bias)
        )
        return self.act(self.drop(F.batch_norm(x, mean, variance, weight, bias, training=False, eps=self.eps)))


def freeze_norms(network: nn.Module) -> None:
    """Put a FrozenNorm in the place of every batch norm of a network."""
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            network.set_submodule(name, FrozenNorm.of(module))
