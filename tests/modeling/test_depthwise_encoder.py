"""The released multi-scale encoder against loops over one image's own cells: padding and companions change nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from smca.modeling.depthwise_encoder import upsampled
from smca.modeling.encoder import Encoder
from smca.modeling.geometry import BatchSizes
from smca.modeling.input_projection import Tokens
from tests.modeling import oracle
from tests.modeling.tiny import random_tokens, small_config, stir

Array = np.ndarray
SIZES = [(60, 100), (90, 50)]
LEVELS = ("c3", "c4", "c5", "c6")


def encoder_and_tokens(**switches: Any) -> tuple[Encoder, Tokens]:
    torch.manual_seed(5)
    config = small_config(**{"encoder": ("depthwise",), "levels": LEVELS, **switches})
    return stir(Encoder(config), 0.2).double().eval(), random_tokens(config, SIZES)


def own_maps(values: Tensor, tokens: Tokens, image: int) -> list[Array]:
    """What of one image's [S, C] is image, a map [H, W, C] a level."""
    parts = zip(values.split(tokens.lengths), tokens.shapes, tokens.extents, strict=True)
    return [
        part.detach().unflatten(0, shape).numpy()[: int(extent.height[image]), : int(extent.width[image])]
        for part, shape, extent in parts
    ]


def convolved(conv: Any, values: Array, stride: int) -> Array:
    """Each output cell by itself: the kernel around its place, zeros beyond the map, dense or channel by channel."""
    weight, bias = (p.detach().numpy() for p in (conv.weight, conv.bias))
    size, (rows, columns) = weight.shape[-1], values.shape[:2]
    result = np.zeros((math.ceil(rows / stride), math.ceil(columns / stride), len(bias)))
    for row, column in np.ndindex(result.shape[:2]):
        total = bias.copy()
        for i, j in np.ndindex(size, size):
            y, x = row * stride + i - size // 2, column * stride + j - size // 2
            if 0 <= y < rows and 0 <= x < columns:
                kernel = weight[:, :, i, j]
                total += kernel[:, 0] * values[y, x] if conv.groups > 1 else kernel @ values[y, x]
        result[row, column] = total
    return result


def place(index: int, source: int, target: int) -> float:
    return index * (source - 1) / (target - 1) if target > 1 else 0.0


def bilinear(values: Array, rows: int, columns: int) -> Array:
    """Corner cells lie on corner cells, each value a mean of the four around its place."""
    result = np.zeros((rows, columns, values.shape[2]))
    for row, column in np.ndindex(rows, columns):
        y, x = place(row, values.shape[0], rows), place(column, values.shape[1], columns)
        for i in {math.floor(y), math.ceil(y)}:
            for j in {math.floor(x), math.ceil(x)}:
                result[row, column] += (1 - abs(y - i)) * (1 - abs(x - j)) * values[i, j]
    return result


def each(function: Any, maps: list[Array]) -> list[Array]:
    """A function of (level, vector) at every cell."""
    return [np.apply_along_axis(lambda v, n=n: function(n, v), 2, one) for n, one in enumerate(maps)]


def depthwise_block(block: Any, features: list[Array], positions: list[Array]) -> list[Array]:
    """One post-norm block as its formula says."""
    located = [f + p for f, p in zip(features, positions, strict=True)]
    mixed = each(lambda n, v: oracle.linear(oracle.per_level(block.mix_in, n), v), located)
    own = [convolved(conv, one, 1) for conv, one in zip(block.within, mixed, strict=True)]
    result = []
    for level, one in enumerate(own):
        total = one.copy()
        if level > 0:
            total += convolved(block.down, own[level - 1], 2)
        if level + 1 < len(own):
            total += bilinear(convolved(block.up, own[level + 1], 1), *one.shape[:2])
        result.append(total)
    looked = each(lambda n, v: oracle.linear(oracle.per_level(block.mix_out, n), v), result)
    summed = [f + value for f, value in zip(features, looked, strict=True)]
    middle = each(lambda n, v: oracle.layer_norm(oracle.per_level(block.norm1, n), v), summed)

    def feed_forward(level: int, vector: Array) -> Array:
        forwarded = vector + oracle.mlp(oracle.per_level(block.ffn, level), vector)
        return oracle.layer_norm(oracle.per_level(block.norm2, level), forwarded)

    return each(feed_forward, middle)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("image", [0, 1])
def test_a_block_equals_the_loop_over_the_image_alone(shared: bool, image: int) -> None:
    encoder, tokens = encoder_and_tokens(shared_attention=shared, shared_ffn=shared)
    found = own_maps(encoder(tokens).features[image], tokens, image)
    positions = own_maps(tokens.positions.expand_as(tokens.features)[image], tokens, image)
    wanted = depthwise_block(encoder.blocks[0], own_maps(tokens.features[image], tokens, image), positions)
    for level in range(len(LEVELS)):
        np.testing.assert_allclose(found[level], wanted[level], atol=1e-9)


def test_the_finest_level_is_brought_onto_the_grid_of_the_next() -> None:
    encoder, tokens = encoder_and_tokens(encoder=(), halve_finest=True)
    found = encoder(tokens)
    assert encoder.halved_finest is not None
    assert (found.lengths, found.shapes) == (
        (tokens.lengths[1], *tokens.lengths[1:]),
        (tokens.shapes[1], *tokens.shapes[1:]),
    )
    assert [level.stride for level in found.levels] == [16, 16, 32, 64]
    assert found.padding is not None
    for image in range(2):
        finest, *others = own_maps(found.features[image], found, image)
        before = own_maps(tokens.features[image], tokens, image)
        np.testing.assert_allclose(finest, convolved(encoder.halved_finest.conv, before[0], 2), atol=1e-9)
        for one, unchanged in zip(others, before[1:], strict=True):
            np.testing.assert_array_equal(one, unchanged)


EXTENT = st.integers(1, 9)


@settings(deadline=None, max_examples=50)
@given(sizes=st.lists(st.tuples(EXTENT, EXTENT, EXTENT, EXTENT), min_size=1, max_size=3))
def test_each_image_is_stretched_between_its_own_sizes(sizes: list[tuple[int, int, int, int]]) -> None:
    rows, columns, wanted_rows, wanted_columns = (torch.tensor(extents) for extents in zip(*sizes, strict=True))
    values = torch.randn(len(sizes), 2, int(rows.max()), int(columns.max()), dtype=torch.float64)
    own, wanted = BatchSizes(rows, columns), BatchSizes(wanted_rows, wanted_columns)
    found = upsampled(values, own, wanted, (int(wanted_rows.max()), int(wanted_columns.max())))
    for image, (height, width, tall, wide) in enumerate(sizes):
        alone = bilinear(values[image].permute(1, 2, 0).numpy()[:height, :width], tall, wide)
        np.testing.assert_allclose(found[image].permute(1, 2, 0)[:tall, :wide], alone, atol=1e-12)
