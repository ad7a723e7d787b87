"""E7: how much each query listens to each level, alpha = softmax(FC(O_q)); [B, N, C] -> [B, N, L], rows sum to 1."""

from __future__ import annotations

from torch import Tensor, nn

from smca.modeling.precision import at_least_float32, exact_in_training


class ScaleSelection(nn.Linear):
    """The fully connected layer and its softmax, in every decoder layer."""

    def forward(self, input: Tensor) -> Tensor:
        with exact_in_training(self, input.device):
            return at_least_float32(super().forward(at_least_float32(input))).softmax(dim=-1)
