"""Co-attention of one level with random numbers, in the folded and the explicit form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from smca.modeling.co_attention import explicit_attention
from smca.modeling.folding import folded_attention, key_features, wide_cells, wide_queries, widened, with_cells
from smca.modeling.geometry import Grid
from smca.modeling.weight_maps import WeightMap, log_weight_map


@dataclass
class Case:
    """One level: q [B, M, N, d], k and v [B, M, S, d], centre and precision [B, N, M, 2], padding [B, S] or None."""

    query: Tensor
    key: Tensor
    value: Tensor
    weight_map: WeightMap
    grid: Grid
    padding: Tensor | None

    def leaves(self) -> list[Tensor]:
        return [self.query, self.key, self.value, self.weight_map.centre, self.weight_map.precision]

    def to(self, dtype: torch.dtype) -> Case:
        """Queries, keys and values in that type; where they look from never in less than float32."""
        types = [dtype] * 3 + [torch.promote_types(dtype, torch.float32)] * 2
        leaves = zip(self.leaves(), types, strict=True)
        query, key, value, centre, precision = (x.detach().to(kind).requires_grad_() for x, kind in leaves)
        grid = Grid(self.grid.x.to(types[-1]), self.grid.y.to(types[-1]))
        return Case(query, key, value, WeightMap(centre, precision), grid, self.padding)

    def folded(self) -> Tensor:
        width = self.query.shape[-1]
        cells = wide_cells(key_features(self.grid, self.padding, self.query.dtype), width)
        (query,) = wide_queries(self.query, [self.weight_map], [self.grid])
        return folded_attention(query, with_cells(self.key, cells), widened(self.value, cells), width, dropout=0.0)

    def explicit(self) -> Tensor:
        log_map = log_weight_map(self.weight_map, self.grid).flatten(-2).transpose(1, 2)
        return explicit_attention(self.query, self.key, self.value, log_map, self.padding, dropout=0.0)[0]

    def steepness(self) -> float:
        """The largest exponent of the case, its scores included."""
        reach = (self.weight_map.centre.detach().abs().max() + len(self.grid.x) + len(self.grid.y)) ** 2
        return float(1 + self.weight_map.precision.detach().max() * reach)


def random_case(
    rows: int = 3,
    columns: int = 4,
    heads: int = 2,
    spread: tuple[float, float] = (0.5, 2.0),
    outside: float = 0.0,
    padded: bool = False,
    width: int = 4,
    queries: int = 3,
    seed: int = 0,
) -> Case:
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(2, queries, heads, 2, generator=draw, dtype=torch.float64)

    grid = Grid.of_map(rows, columns, 0.5, like=normal(1))
    extent = torch.tensor([columns, rows])
    centre = uniform(-outside, 1 + outside) * extent
    precision = 1 / (8 * uniform(*spread) ** 2)
    padding = torch.zeros(2, rows * columns, dtype=torch.bool)
    padding.unflatten(1, (rows, columns))[1, (rows + 1) // 2 :] = padded
    padding.unflatten(1, (rows, columns))[1, :, (columns + 1) // 2 :] = padded
    cells = rows * columns
    return Case(
        normal(2, heads, queries, width),
        normal(2, heads, cells, width),
        normal(2, heads, cells, width),
        WeightMap(centre, precision),
        grid,
        padding if padded else None,
    ).to(torch.float64)


def gradients(output: Tensor, case: Case, upstream: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad((output * upstream.to(output.dtype)).sum(), case.leaves())


def drawn_case(data: st.DataObject, outside: tuple[float, ...], widths: tuple[int, ...]) -> Case:
    """Hypothesis's choice of grid, heads, spreads of 0.1 to 50 cells, padding and queries."""
    narrow = data.draw(st.floats(0.1, 50))
    return random_case(
        rows=data.draw(st.integers(1, 12)),
        columns=data.draw(st.integers(1, 12)),
        heads=data.draw(st.integers(1, 16)),
        spread=(narrow, data.draw(st.floats(narrow, 50))),
        outside=data.draw(st.sampled_from(outside)),
        padded=data.draw(st.booleans()),
        width=data.draw(st.sampled_from(widths)),
        queries=data.draw(st.integers(1, 5)),
        seed=data.draw(st.integers(0, 99)),
    )
