"""An explanation of one detection as JSON that a browser draws: maps as bytes, outlines as points.

{"label", "score", "box", "query", "width", "height", "centre": [x, y] or null, "levels": [{"name", "stride", "share":
scale weight or null, "rows", "columns", "cell": [width, height], "offset", "heads": [{"colour", "centre", "outline"}],
"maps": [{"kind", "all", "heads": [...]}]}]}

Lengths are in pixels of the picture. A map is base64 of rows x columns bytes, 255 for 1: G as it is, an attention
relative to its highest cell. "all" is the highest G or the mean attention of the heads. Cell (i, j) is centred at
(j + offset) cell width, (i + offset) cell height. A model without modulation has no heads' outlines.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from smca.visualization.attention import Map, maps_by_kind
from smca.visualization.explanation import Explanation, LevelMaps
from smca.visualization.panels import head_colour


def look(explanation: Explanation) -> dict[str, Any]:
    """The first detection of an explanation."""
    size = explanation.detections.size
    centres = explanation.centres
    return {
        **explanation.detections.to_json()[0],
        "query": int(explanation.queries[0]),
        "width": size.width,
        "height": size.height,
        "centre": None if centres is None else _rounded(centres[0] * (size.width, size.height)),
        "levels": [_level(explanation, index) for index in range(len(explanation.levels))],
    }


def _level(explanation: Explanation, index: int) -> dict[str, Any]:
    level, weights = explanation.levels[index], explanation.scale_weights
    rows, columns = level.co_attention.shape[-2:]
    return {
        "name": level.name,
        "stride": level.stride,
        "share": None if weights is None else float(weights[0, index]),
        "rows": rows,
        "columns": columns,
        "cell": explanation.cell(level).tolist(),
        "offset": level.offset,
        "heads": _heads(explanation, level),
        "maps": [_map(kind, maps[0]) for kind, maps in maps_by_kind([level]).items()],
    }


def _heads(explanation: Explanation, level: LevelMaps) -> list[dict[str, Any]]:
    return [
        {"colour": head_colour(head), "centre": _rounded(spread.centre), "outline": _rounded(spread.outline)}
        for head, spread in enumerate(explanation.spreads(level, 0))
    ]


def _map(kind: str, one: Map) -> dict[str, Any]:
    heads = [_packed(one.strength(0, head)) for head in range(one.values.shape[1])]
    return {"kind": kind, "all": _packed(one.strength(0)), "heads": heads}


def _packed(strength: np.ndarray) -> str:
    return base64.b64encode((strength.clip(0, 1) * 255).round().astype(np.uint8).tobytes()).decode("ascii")


def _rounded(points: np.ndarray) -> list[Any]:
    return np.round(points.astype(np.float64), 1).tolist()
