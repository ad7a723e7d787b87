"""E2, E3, E4, E6: the Gaussian-like weight map of every query, head and level, as numbers and as a picture.

    centre      c = sigmoid(z) * (w, h) / stride                      z = MLP(O_q), cells (x, y)             (E2)
    offset      c_h = c + dw_h, cells of the level                    one per head and level                 (E6)
    spread      s = FC(O_q), starts at exactly 1                      fixed / single / independent / product (E3)
    log G(i,j)  = -(x_i - c_x)^2 A_x - (y_j - c_y)^2 A_y              A = 1 / (beta s^2), or s^2 / beta       (E4)
                  and with "product" - (x_i - c_x)^2 (y_j - c_y)^2 A_xy, from a third spread (released code's type4)

A map is carried as its centre and precision A [B, N, M, 2] per level, never as [queries, cells]; `log_weight_map`
draws it for the explicit form, for pictures and as the oracle. |s| of a width counts as at least `SMALLEST`, below
which G is one cell and float32 could not fold it. beta = 8 ("bandwidth"): with s = 1 the standard deviation is
s sqrt(beta / 2) = two cells.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from smca.modeling.configuration import SmcaConfig
from smca.modeling.geometry import Grid
from smca.modeling.precision import at_least_float32, exact_in_training, without_autocast

SMALLEST = 0.1


class WeightMap(NamedTuple):
    """log G of one level by its parameters: centre and precision [B, N, M or 1, 2] (x, y), in cells and 1/cells^2.

    product: A_xy [B, N, M or 1] in 1/cells^4, or None: log G is then no sum over x and y and cannot be folded.
    """

    centre: Tensor
    precision: Tensor
    product: Tensor | None = None

    @property
    def sigma(self) -> Tensor:
        """Standard deviations 1 / sqrt(2 A) along x and y, in cells; infinite where the map is flat."""
        return (2 * self.precision).rsqrt()


class CentreHead(nn.Sequential):
    """E2: O_q [B, N, C] -> logit of the normalised centre [B, N, 2] (x, y)."""

    def __init__(self, channels: int, layers: int) -> None:
        hidden = [module for _ in range(layers - 1) for module in (nn.Linear(channels, channels), nn.ReLU())]
        super().__init__(*hidden, nn.Linear(channels, 2))

    def forward(self, input: Tensor) -> Tensor:
        with exact_in_training(self, input.device):
            return at_least_float32(super().forward(at_least_float32(input)))


class WeightMapHead(nn.Module):
    """E3 and E6: O_q [B, N, C] and a centre -> one WeightMap a level. Head-shared maps have one head and no offset."""

    def __init__(self, config: SmcaConfig) -> None:
        super().__init__()
        self.levels = len(config.levels)
        self.heads = config.num_heads if config.modulation == "multi-head" else 1
        self.bandwidth = config.bandwidth
        self.inverse = config.spread_form == "inverse-width"
        self.factors = tuple(config.level_factors or (1.0,) * self.levels)
        count = self.levels * self.heads
        self.offset = nn.Linear(config.d_model, count * 2) if config.modulation == "multi-head" else None
        outputs = {"fixed": 0, "single": 1, "independent": 2, "product": 3}[config.spread]
        self.spread = nn.Linear(config.d_model, count * outputs) if outputs else None

    def _per_head(self, values: Tensor) -> Tensor:
        return values.unflatten(-1, (self.levels, self.heads, -1))

    def spreads(self, query: Tensor) -> Tensor:
        """Spreads s [B, N, L, M, 2 or 3] (x, y, product), sign and all."""
        if self.spread is None:
            return query.new_ones(*query.shape[:2], self.levels, self.heads, 2)
        spreads = self._per_head(self.spread(query))
        return spreads.expand(-1, -1, -1, -1, max(2, spreads.shape[-1]))

    def forward(self, query: Tensor, centre_logit: Tensor, scales: tuple[Tensor, ...]) -> list[WeightMap]:
        query = at_least_float32(query)
        with without_autocast(query.device):
            return self._maps(query, centre_logit, scales)

    def _maps(self, query: Tensor, centre_logit: Tensor, scales: tuple[Tensor, ...]) -> list[WeightMap]:
        square = self.spreads(query) ** 2
        multiplier = square if self.inverse else 1 / square.clamp(min=SMALLEST**2)
        centre = centre_logit.sigmoid()[:, :, None]
        offsets = None if self.offset is None else self._per_head(self.offset(query))
        maps = []
        for level, (scale, factor) in enumerate(zip(scales, self.factors, strict=True)):
            centre_cells = centre * scale[:, None, None]
            if offsets is not None:
                centre_cells = centre_cells + offsets[:, :, level]
            precision = multiplier[:, :, level] * (factor / self.bandwidth)
            product = precision[..., 2] if precision.shape[-1] == 3 else None
            maps.append(WeightMap(centre_cells, precision[..., :2], product))
        return maps


def log_weight_map(weight_map: WeightMap, grid: Grid) -> Tensor:
    """E4 written out: log G [B, N, M, H, W] <= 0."""
    centre, precision = weight_map.centre[..., None], weight_map.precision[..., None]
    along_x = (grid.x - centre[..., 0, :]) ** 2
    along_y = (grid.y - centre[..., 1, :]) ** 2
    squares = (along_y * precision[..., 1, :])[..., :, None] + (along_x * precision[..., 0, :])[..., None, :]
    if weight_map.product is None:
        return -squares
    return -(squares + along_y[..., :, None] * along_x[..., None, :] * weight_map.product[..., None, None])


def direction_offsets(levels: int, heads: int, device: torch.device) -> Tensor:
    """Initial offsets: head h of every level one cell away from the centre, the heads all around it; [L * M * 2]."""
    angle = torch.arange(heads, device=device) * (2 * torch.pi / heads)
    return torch.stack([angle.cos(), angle.sin()], dim=-1).repeat(levels, 1, 1).flatten()
