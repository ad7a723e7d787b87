"""Does it pay to look only near the centre? Co-attention over a window of cells a query, against all cells, folded.

    python benchmarks/locality.py [--rounds N]

log G falls with the square of the distance, so what lies beyond R cells of a centre of spread s = 1 (sigma two cells)
weighs at most n exp(2 S - R^2 / 8) of what is attended to, where S bounds |K^T Q| / sqrt(d) and n cells are left out:
with R = 16 and S = 4 less than 3e-6 on a map of 200x268 cells. The window's keys and values are gathered for each query
and head: their number does not grow with the map, but each is read for itself, while all queries of a head share the
keys of the whole map.
"""

from __future__ import annotations

import argparse
import math

import torch
from torch import Tensor

from smca.benchmark.attention import HEADS, WIDTH, Attention, MapSize, Shape
from smca.benchmark.timing import Work, in_turn, ratio_of
from smca.modeling.weight_maps import WeightMap

REACH = 16
SIDE = 2 * REACH
MAPS = {"C5, stride 32": (25, 34), "C4, stride 16": (50, 67), "C3, stride 8": (100, 134), "stride 4": (200, 268)}


def windowed(inputs: Attention, query: Tensor, key: Tensor, value: Tensor, centre: Tensor, precision: Tensor) -> Tensor:
    """E5 over the SIDE x SIDE cells around each query's centre (fewer on smaller maps)."""
    rows, columns = inputs.shape.map_size
    high, wide = min(SIDE, rows), min(SIDE, columns)
    with torch.no_grad():
        left, top = (
            (centre.round().long()[..., axis] - REACH).clamp(0, extent - side)
            for axis, extent, side in ((0, columns, wide), (1, rows, high))
        )
        x, y = left[..., None] + torch.arange(wide), top[..., None] + torch.arange(high)
        cell = (y[..., :, None] * columns + x[..., None, :]).flatten(-2).transpose(1, 2)
    along_x, along_y = ((place - centre[..., axis, None]) ** 2 for axis, place in ((0, x), (1, y)))
    squares = (
        along_y[..., :, None] * precision[..., 1, None, None] + along_x[..., None, :] * precision[..., 0, None, None]
    )
    bias = -squares.flatten(-2).transpose(1, 2)
    batch, heads = torch.arange(len(query))[:, None, None, None], torch.arange(HEADS)[None, :, None, None]
    near_keys, near_values = key[batch, heads, cell], value[batch, heads, cell]
    score = torch.einsum("bmnd,bmnsd->bmns", query, near_keys) / math.sqrt(WIDTH) + bias
    return torch.einsum("bmns,bmnsd->bmnd", score.softmax(dim=-1), near_values)


def cases(inputs: Attention, both_ways: bool) -> dict[str, Work]:
    """The two ways, on the same numbers."""
    near = [inputs.query, inputs.key, inputs.value, inputs.centre, inputs.precision]
    if not both_ways:

        def look() -> object:
            with torch.no_grad():
                return windowed(inputs, *near)

        return {"window": look, "all cells": inputs.forward("folded")}
    leaves = [tensor.detach().requires_grad_() for tensor in near]

    def learn() -> object:
        return torch.autograd.grad(windowed(inputs, *leaves), leaves, inputs.upstream)

    return {"window": learn, "all cells": inputs.training("folded")}


def error(inputs: Attention) -> float:
    """Largest difference between the two."""
    whole = WeightMap(inputs.centre, inputs.precision)
    near = windowed(inputs, inputs.query, inputs.key, inputs.value, *whole[:2])
    return (near - inputs.explicit(inputs.query, inputs.key, inputs.value, *whole[:2])).abs().max().item()


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_flush_denormal(True)
    print("| map | cells | window : all, forward | both ways | ms both ways | largest difference |")
    print("|---|---|---|---|---|---|")
    for name, (rows, columns) in MAPS.items():
        inputs = Attention(Shape(MapSize(rows, columns)))
        inputs.precision = torch.full_like(inputs.precision, 1 / 8)
        found = []
        for both_ways in (False, True):
            seconds = in_turn(cases(inputs, both_ways), rounds)
            found.append(ratio_of(seconds, "window", "all cells", "locality", name))
        forward, both = found
        times = f"{both.milliseconds:.0f} : {both.against_milliseconds:.0f}"
        row = (name, rows * columns, f"{forward.ratio:.2f}", f"{both.ratio:.2f}", times, f"{error(inputs):.1e}")
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()
