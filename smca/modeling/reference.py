"""Where a decoder layer's queries look from, and how a query tells the others where that is.

In the paper the centre of layer 0 serves all layers. With `recentre` (ours) a layer hands on the box that it predicts,
without gradient: the next layer's maps stand on that box's centre, E9 refines it, and the box is added to the query's
position, so that in self-attention two queries on one object see each other:

    position_l = query position + W [sin(2 pi f_k b), cos(2 pi f_k b)],    b = (c_x, c_y, w, h) of layer l-1 in [0, 1]

with C / 4 frequencies f_k from one to `FINEST` waves an image. W starts at zero. Source: own, an idea of Conditional
and DAB-DETR.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from smca.modeling.heads import BoxHead

FINEST = 16.0


@dataclass(frozen=True)
class Reference:
    """Logit of the normalised centre [B, N, 2] (x, y), and of the size when a query has one."""

    centre_logit: Tensor
    size_logit: Tensor | None = None

    @classmethod
    @torch.no_grad()
    def of_box(cls, box_head: BoxHead, output: Tensor, before: Reference) -> Reference:
        """The box that a layer's normalised output [B, N, C] predicts, looking from `before`."""
        logit = box_head.logit(output, before.centre_logit)
        return cls(logit[..., :2], logit[..., 2:])


class BoxPosition(nn.Module):
    """A reference with a size -> what to add to its query's position, [B, N, C]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.waves = channels // 4
        self.linear = nn.Linear(8 * self.waves, channels)

    def forward(self, reference: Reference) -> Tensor:
        sizes = [] if reference.size_logit is None else [reference.size_logit]
        box = torch.cat([reference.centre_logit, *sizes], dim=-1).sigmoid()
        power = torch.arange(self.waves, device=box.device, dtype=box.dtype) / max(1, self.waves - 1)
        phase = (2 * math.pi * box[..., None] * FINEST**power).flatten(-2)
        return self.linear(torch.cat([phase.sin(), phase.cos()], dim=-1))
