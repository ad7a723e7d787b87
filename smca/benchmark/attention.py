"""The co-attention alone, forward and backward: folded, explicit and with a float mask, against plain attention.

Plain is one fused scaled-dot-product call over queries, keys and values of the head's own width. Folded is all that
the modulation adds to it: the queries' features, the cells' features put beside the keys, the wider call. Keys and
values lie as a layer's projections make them. Memory is the most bytes of tensors alive at once that the call made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from smca.benchmark.timing import Amount, Clock, Ratio, Work, in_turn, ratio_of, wall_clock
from smca.modeling.co_attention import explicit_attention
from smca.modeling.folding import folded_attention, key_features, wide_cells, wide_queries, widened, with_cells
from smca.modeling.geometry import Grid
from smca.modeling.precision import has_bfloat16
from smca.modeling.weight_maps import WeightMap, log_weight_map
from smca.training.memory import Alive

HEADS, WIDTH = 8, 32
FORMS = ("plain", "folded", "wide", "masked", "explicit")


class MapSize(NamedTuple):
    """Rows and columns of a feature map."""

    rows: int
    columns: int


C5, C4 = MapSize(25, 34), MapSize(50, 67)
LIMITS = {C5: 1.35, C4: 1.20}
EXTRA_MEMORY = 20.0
RESOLUTIONS = (MapSize(13, 17), C5, C4, MapSize(100, 134))


@dataclass(frozen=True)
class Shape:
    """What is attended with: the map, the queries, images at once, the type and dropout of the attention."""

    map_size: MapSize
    queries: int = 300
    batch: int = 1
    dtype: torch.dtype = torch.float32
    dropout: float = 0.0

    def __str__(self) -> str:
        parts = [
            f"{self.map_size.rows}x{self.map_size.columns} cells",
            f"{self.queries} queries",
            f"batch {self.batch}",
        ]
        kind = str(self.dtype).removeprefix("torch.")
        return ", ".join([*parts, kind, *([f"dropout {self.dropout:g}"] if self.dropout else [])])


class Attention:
    """Random inputs of one shape, and the ways to attend."""

    def __init__(self, shape: Shape, device: str = "cpu") -> None:
        self.shape = shape
        draw = torch.Generator(device).manual_seed(0)
        rows, columns = shape.map_size

        def normal(*extents: int) -> Tensor:
            return torch.randn(*extents, generator=draw, device=device)

        self.grid = Grid.of_map(rows, columns, 0.0, like=normal(1))
        self.cells = wide_cells(key_features(self.grid, None, shape.dtype), WIDTH)
        heads = (shape.batch, HEADS)
        self.query = normal(*heads, shape.queries, WIDTH)
        projected = (shape.batch, rows * columns, HEADS, WIDTH)
        self.key, self.value = (normal(*projected).transpose(1, 2) for _ in range(2))
        extent = torch.tensor([columns, rows], device=device)
        self.centre = torch.rand(shape.batch, shape.queries, HEADS, 2, generator=draw, device=device) * extent
        self.precision = (0.3 * normal(shape.batch, shape.queries, HEADS, 2)).exp() / 8
        self.upstream = normal(*heads, shape.queries, WIDTH)
        for name in ("query", "key", "value"):
            setattr(self, name, getattr(self, name).to(shape.dtype))
        self.upstream = self.upstream.to(shape.dtype)

    def plain(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, dropout_p=self.shape.dropout)

    def folded(self, query: Tensor, key: Tensor, value: Tensor, centre: Tensor, precision: Tensor) -> Tensor:
        (queries,) = wide_queries(query, [WeightMap(centre, precision)], [self.grid])
        return folded_attention(
            queries, with_cells(key, self.cells), widened(value, self.cells), WIDTH, self.shape.dropout
        )

    def wide(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """The fused call alone, at the width that the folded form needs: what no folding can be faster than."""
        return F.scaled_dot_product_attention(query, key, value, dropout_p=self.shape.dropout, scale=WIDTH**-0.5)

    def masked(self, query: Tensor, key: Tensor, value: Tensor, centre: Tensor, precision: Tensor) -> Tensor:
        bias = self._log_map(centre, precision)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=self.shape.dropout)

    def explicit(self, query: Tensor, key: Tensor, value: Tensor, centre: Tensor, precision: Tensor) -> Tensor:
        bias = self._log_map(centre, precision)
        return explicit_attention(query, key, value, bias, None, self.shape.dropout)[0]

    def _log_map(self, centre: Tensor, precision: Tensor) -> Tensor:
        return log_weight_map(WeightMap(centre, precision), self.grid).flatten(-2).transpose(1, 2).to(self.shape.dtype)

    def forward(self, form: str) -> Work:
        """A call that attends, without gradients."""
        attend, inputs = self._call(form)

        def work() -> object:
            with torch.no_grad():
                return attend(*inputs)

        return work

    def training(self, form: str) -> Work:
        """A call that attends and goes back."""
        attend, inputs = self._call(form)
        leaves = [tensor.detach().requires_grad_() for tensor in inputs]
        upstream = F.pad(self.upstream, (0, leaves[2].shape[-1] - WIDTH))
        return lambda: torch.autograd.grad(attend(*leaves), leaves, upstream)

    def _call(self, form: str) -> tuple[Callable[..., Tensor], list[Tensor]]:
        if form == "plain":
            return self.plain, [self.query, self.key, self.value]
        if form == "wide":
            extra = self.cells.shape[-1]
            return self.wide, [F.pad(part, (0, extra)) for part in (self.query, self.key, self.value)]
        return getattr(self, form), [self.query, self.key, self.value, self.centre, self.precision]


def most_alive(work: Work) -> int:
    """The most bytes of new tensors alive at once during `work`."""
    with Alive(set(), torch.empty(0)) as alive:
        work()
    return alive.most


def _growing() -> list[Shape]:
    """Larger and larger maps; more and fewer queries and images on one of them."""
    shapes = [Shape(size) for size in RESOLUTIONS]
    shapes += [Shape(C4, queries=queries) for queries in (100, 900)]
    return shapes + [Shape(C4, batch=batch) for batch in (2, 4)]


def growth() -> list[Amount]:
    """Memory of plain, folded and explicit attention, both ways, as the map, the queries and the batch grow."""
    found = []
    for shape in _growing():
        attention = Attention(shape)
        most = {form: most_alive(attention.training(form)) / 2**20 for form in ("plain", "folded", "explicit")}
        found += [Amount("memory, both ways", form, str(shape), value, "MiB") for form, value in most.items()]
        if shape == Shape(C4):
            extra = most["folded"] - most["plain"]
            found.append(Amount("memory, both ways", "what folding adds", str(shape), extra, "MiB", EXTRA_MEMORY))
    return found


def ratios(rounds: int, clock: Clock = wall_clock, device: str = "cpu") -> list[Ratio]:
    """Every form against plain attention, forward and with the way back: by map, queries, batch, dropout and type."""
    shapes = _growing()
    shapes += [Shape(size, dropout=0.1) for size in (C5, C4)]
    if has_bfloat16(torch.device(device)):
        shapes += [Shape(size, dtype=torch.bfloat16) for size in (C5, C4)]
    return [ratio for shape in shapes for ratio in _of(shape, rounds, clock, device)]


def _of(shape: Shape, rounds: int, clock: Clock, device: str) -> list[Ratio]:
    attention = Attention(shape, device)
    aimed_at = shape == Shape(shape.map_size)
    ways = {"co-attention, forward": attention.forward, "co-attention, both ways": attention.training}
    found = []
    for group, make in ways.items():
        seconds = in_turn({form: make(form) for form in FORMS}, rounds, clock, warm=2)
        limit = LIMITS.get(shape.map_size) if aimed_at and make == attention.training else None
        for form in FORMS[1:]:
            bound = limit if form == "folded" else None
            found.append(ratio_of(seconds, form, FORMS[0], group, str(shape), bound))
    return found
