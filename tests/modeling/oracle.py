"""Equations E1 to E9 again, slowly: scalar loops written from the formulas, in double precision, with NumPy only.

A map is indexed [row][column] = [j][i]; points are (x, y). The weights of linear layers and norms come from the model
under test (which is why its parts are `Any` here), everything that is done with them is done here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

Array = NDArray[np.float64]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softmax(scores: list[float]) -> list[float]:
    highest = max(scores)
    total = sum(math.exp(x - highest) for x in scores)
    return [math.exp(x - highest) / total for x in scores]


def dot(a: Array, b: Array) -> float:
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def linear(layer: Any, vector: Array) -> Array:
    weight, bias = (p.detach().double().numpy() for p in (layer.weight, layer.bias))
    return np.array([dot(row, vector) + b for row, b in zip(weight, bias, strict=True)])


def layer_norm(layer: Any, vector: Array) -> Array:
    weight, bias = (p.detach().double().numpy() for p in (layer.weight, layer.bias))
    mean = sum(vector) / len(vector)
    variance = sum((x - mean) ** 2 for x in vector) / len(vector)
    return np.array(
        [(x - mean) / math.sqrt(variance + 1e-5) * w + b for x, w, b in zip(vector, weight, bias, strict=True)]
    )


def mlp(layers: Any, vector: Array) -> Array:
    """Linear layers with ReLU between them; whatever else stands in the sequence does nothing."""
    linears = [layer for layer in layers.children() if isinstance(layer, nn.Linear)]
    for layer in linears[:-1]:
        vector = np.maximum(linear(layer, vector), 0)
    return linear(linears[-1], vector)


def sine_position(valid_rows: int, valid_columns: int, row: int, column: int, channels: int) -> list[float]:
    """Position encoding of one cell: the y half, then the x half."""
    encoding = []
    for place, valid in ((row, valid_rows), (column, valid_columns)):
        angle = (place + 1) / (valid + 1e-6) * 2 * math.pi
        for i in range(channels // 2):
            phase = angle / 10000 ** (2 * (i // 2) / (channels // 2))
            encoding.append(math.cos(phase) if i % 2 else math.sin(phase))
    return encoding


def initial_centre(logit: Array, width: float, height: float, stride: int) -> tuple[float, float]:
    """E2: in cells."""
    return sigmoid(logit[0]) * width / stride, sigmoid(logit[1]) * height / stride


class Spread(NamedTuple):
    """E3; `product` is that of the released code's type4."""

    x: float
    y: float
    product: float | None = None


def log_gaussian(
    i: float, j: float, centre: tuple[float, float], spread: Spread, beta: float, inverse: bool = False
) -> float:
    """E4 at the point (i, j); `inverse`: the released code's form."""
    square_x, square_y = (i - centre[0]) ** 2, (j - centre[1]) ** 2
    pairs = [(square_x, spread.x), (square_y, spread.y)]
    if spread.product is not None:
        pairs.append((square_x * square_y, spread.product))
    return -sum(square * s**2 if inverse else square / s**2 for square, s in pairs) / beta


def attend(query: Array, keys: Array, values: Array, bias: list[float] | None, hidden: list[bool]) -> Array:
    """E1 and E5 for one query of one head; hidden keys do not count."""
    seen = [index for index in range(len(keys)) if not hidden[index]]
    scores = [dot(query, keys[s]) / math.sqrt(len(query)) + (bias[s] if bias else 0.0) for s in seen]
    result = np.zeros(values.shape[1])
    for probability, s in zip(softmax(scores), seen, strict=True):
        result += probability * values[s]
    return result


class CoAttentionGradients(NamedTuple):
    query: Array
    key: Array
    value: Array
    centre: Array
    precision: Array


def co_attention_gradients(
    query: Array,
    keys: Array,
    values: Array,
    cells: list[tuple[float, float]],
    centre: Array,
    precision: Array,
    upstream: Array,
) -> CoAttentionGradients:
    """Gradients of sum(upstream * attend(...)) for one query of one head with log G = -sum A (cell - c)^2."""
    root = math.sqrt(len(query))
    bias = [-sum(precision[a] * (cell[a] - centre[a]) ** 2 for a in range(2)) for cell in cells]
    probability = softmax([dot(query, k) / root + b for k, b in zip(keys, bias, strict=True)])
    mean = sum(p * dot(upstream, v) for p, v in zip(probability, values, strict=True))
    found = CoAttentionGradients(*(np.zeros_like(x) for x in (query, keys, values, centre, precision)))
    for s, cell in enumerate(cells):
        score = probability[s] * (dot(upstream, values[s]) - mean)
        found.query[:] += score * keys[s] / root
        found.key[s] = score * query / root
        found.value[s] = probability[s] * upstream
        for a in range(2):
            found.centre[a] += score * 2 * precision[a] * (cell[a] - centre[a])
            found.precision[a] -= score * (cell[a] - centre[a]) ** 2
    return found


def heads_of(vectors: Array, head: int, heads: int) -> Array:
    width = vectors.shape[-1] // heads
    return vectors[..., head * width : (head + 1) * width]


def self_attention(
    query_key: Callable[[int, Array], Array],
    value: Callable[[int, Array], Array],
    vectors: Array,
    positions: Array,
    hidden: list[bool],
    heads: int,
) -> Array:
    """E1 over a set of vectors; position is added to queries and keys only. Projections may depend on the index."""
    both = np.array([query_key(index, v + p) for index, (v, p) in enumerate(zip(vectors, positions, strict=True))])
    queries, keys = both[:, : vectors.shape[1]], both[:, vectors.shape[1] :]
    values = np.array([value(index, v) for index, v in enumerate(vectors)])
    result = np.zeros_like(vectors)
    for index in range(len(vectors)):
        for head in range(heads):
            q, k, v = (heads_of(x, head, heads) for x in (queries[index], keys, values))
            heads_of(result[index], head, heads)[:] = attend(q, k, v, None, hidden)
    return result


def per_level(modules: Any, level: int) -> Any:
    """The module of a level, which is that of all levels when there is one."""
    found = list(modules.children())
    return found[level] if len(found) > 1 else found[0]


def encoder_block(block: Any, vectors: Array, positions: Array, hidden: list[bool], levels: list[int]) -> Array:
    """One post-norm block over one image's cells; `levels` says to which level each cell belongs."""
    attended = np.zeros_like(vectors)
    for group in [sorted(set(levels))] if block.multi else [[level] for level in sorted(set(levels))]:
        cells = [s for s, level in enumerate(levels) if level in group]
        attended[cells] = self_attention(
            lambda s, v, cells=cells: linear(per_level(block.query_key, levels[cells[s]]), v),
            lambda s, v, cells=cells: linear(per_level(block.value, levels[cells[s]]), v),
            vectors[cells],
            positions[cells],
            [hidden[s] for s in cells],
            block.heads,
        )
    result = np.zeros_like(vectors)
    for s, level in enumerate(levels):
        norm1, norm2, ffn = (per_level(m, level) for m in (block.norm1, block.norm2, block.ffn))
        middle = layer_norm(norm1, vectors[s] + linear(per_level(block.output, level), attended[s]))
        result[s] = layer_norm(norm2, middle + mlp(ffn, middle))
    return result


def decoder_self_attention(layer: Any, targets: Array, positions: Array) -> Array:
    attention = layer.self_attention
    attended = self_attention(
        lambda _, v: linear(attention.query_key, v),
        lambda _, v: linear(attention.value, v),
        targets,
        positions,
        [False] * len(targets),
        attention.heads,
    )
    return np.array([linear(attention.output, v) for v in attended])


class Level(NamedTuple):
    """One level of one image: its cells' vectors, positions and centres, which are padding, and its size in cells."""

    features: Array
    positions: Array
    cells: list[tuple[float, float]]
    hidden: list[bool]
    width: float
    height: float


def decoder_co_attention(
    layer: Any, query: Array, seen: Array, centre_logit: Array, levels: list[Level], beta: float
) -> Array:
    """E2 to E8 for one query: `query` is O_q, `seen` the target with its position."""
    attention = layer.co_attention
    heads, q = attention.heads, linear(attention.query, seen)
    offsets = linear(layer.weight_map.offset, query).reshape(len(levels), heads, 2)
    spreads = linear(layer.weight_map.spread, query).reshape(len(levels), heads, 2)
    alpha = softmax(list(linear(layer.scale_selection, query)))
    total = np.zeros_like(q)
    for index, level in enumerate(levels):
        keys = np.array([linear(attention.key, f + p) for f, p in zip(level.features, level.positions, strict=True)])
        values = np.array([linear(attention.value, f) for f in level.features])
        for head in range(heads):
            centre = (
                sigmoid(centre_logit[0]) * level.width + offsets[index, head, 0],
                sigmoid(centre_logit[1]) * level.height + offsets[index, head, 1],
            )
            bias = [log_gaussian(i, j, centre, Spread(*spreads[index, head]), beta) for i, j in level.cells]
            q_h, k_h, v_h = (heads_of(x, head, heads) for x in (q, keys, values))
            heads_of(total, head, heads)[:] += alpha[index] * attend(q_h, k_h, v_h, bias, level.hidden)
    return linear(attention.output, total)


def decoder(module: Any, levels: list[Level], beta: float) -> tuple[list[Array], Array]:
    """Normalised outputs of all layers for one image [N, C] each, and the logits of the centres."""
    positions = module.query_position.weight.detach().double().numpy()
    targets, outputs, centres = np.zeros_like(positions), [], np.zeros((len(positions), 2))
    for number, layer in enumerate(module.layers):
        queries = [layer_norm(layer.query_norm, t + p) for t, p in zip(targets, positions, strict=True)]
        if number == 0:
            centres = np.array([mlp(layer.centre, query) for query in queries])
        attended = decoder_self_attention(layer, targets, positions)
        targets = np.array([layer_norm(layer.norm1, t + a) for t, a in zip(targets, attended, strict=True)])
        for n, position in enumerate(positions):
            looked = decoder_co_attention(layer, queries[n], targets[n] + position, centres[n], levels, beta)
            middle = layer_norm(layer.norm2, targets[n] + looked)
            targets[n] = layer_norm(layer.norm3, middle + mlp(layer.ffn, middle))
        outputs.append(np.array([layer_norm(module.norm, t) for t in targets]))
    return outputs, centres
