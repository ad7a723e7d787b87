"""E9: class scores and boxes from decoder outputs; the heads are shared by all decoder layers.

    Score = FC(D),   Box = sigmoid( MLP(D) + [logit(c_norm), 0, 0] )

Boxes are (cx, cy, w, h) in [0, 1], relative to the unpadded image; scores are logits.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from smca.modeling.precision import at_least_float32, exact_in_training


class ClassHead(nn.Linear):
    """[..., C] -> logits [..., K]; a focal head starts at the class prior."""

    def __init__(self, channels: int, classes: int, focal: bool) -> None:
        super().__init__(channels, classes)
        self.focal = focal

    def forward(self, input: Tensor) -> Tensor:
        with exact_in_training(self, input.device):
            return at_least_float32(super().forward(at_least_float32(input)))


class BoxHead(nn.Module):
    """[..., B, N, C] and the centre's logit [..., B, N, 2] (None: no box prior) -> boxes [..., B, N, 4]."""

    def __init__(self, channels: int, box_prior: bool) -> None:
        super().__init__()
        self.box_prior = box_prior
        self.mlp = nn.Sequential(
            nn.Linear(channels, channels),
            nn.ReLU(),
            nn.Linear(channels, channels),
            nn.ReLU(),
            nn.Linear(channels, 4),
        )

    def forward(self, decoded: Tensor, centre_logit: Tensor | None) -> Tensor:
        return self.logit(decoded, centre_logit).sigmoid()

    def logit(self, decoded: Tensor, centre_logit: Tensor | None) -> Tensor:
        """Boxes before the sigmoid."""
        with exact_in_training(self, decoded.device):
            logit = at_least_float32(self.mlp(at_least_float32(decoded)))
        if self.box_prior and centre_logit is not None:
            logit = logit + F.pad(centre_logit, (0, 2))
        return logit
