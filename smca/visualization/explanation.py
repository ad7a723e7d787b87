"""Where the queries of an image's detections looked: `Explanation`, as arrays, numbers, pictures and files.

Cell i of a level with stride s and offset o is centred at (i + o) * s pixels of the image the model saw. A model
without modulation (DETR) has no G: no weight maps, no plain attention beside its own, no centres, no spreads.

`arrays()`, and explain.npz, hold for n detections, M heads (1 where heads share a map) and each level NAME (c4, ...):

    boxes [n, 4] x1 y1 x2 y2 in the picture's pixels; scores, labels, names, queries [n]
    picture_size, seen_size [2]   height and width of the picture, and as the model saw it
    threshold, highest_score []   lowest score asked for, and the best there was
    level_names, strides, offsets [levels];   scale_weights [n, levels], rows sum to 1
    centres [n, 2]                the queries' centres (x, y), relative to the picture
    weight_maps_NAME [n, M, h, w]                        G in [0, 1]
    co_attention_NAME, plain_attention_NAME [n, M, h, w] probabilities with and without G
    head_centres_NAME, sigmas_NAME [n, M, 2]             G's centre and standard deviation (x, y), in cells
    products_NAME [n, M]                                 A_xy of the "product" spread, in 1/cells^4

What a model does not have is left out. G = exp(-dx^2 / (2 sigma_x^2) - dy^2 / (2 sigma_y^2) - dx^2 dy^2 A_xy).
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from smca.detections import Detections
from smca.files import write_atomically, write_json
from smca.sizes import ImageSize

OVERVIEW, DETECTIONS = "overview.png", "detection-[0-9]*.png"
WIDEST = 1e4  # cells; a flat map's outline is drawn as this wide


@dataclass(frozen=True, eq=False)
class LevelMaps:
    """One level of the last decoder layer; the arrays are those of the module's list, without NAME."""

    name: str
    stride: int
    offset: float
    co_attention: np.ndarray
    weight_maps: np.ndarray | None = None
    plain_attention: np.ndarray | None = None
    head_centres: np.ndarray | None = None
    sigmas: np.ndarray | None = None
    products: np.ndarray | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays this level has, by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}


class Spread(NamedTuple):
    """A head's G: its centre [2] and its outline [points, 2], a closed line where it has fallen to exp(-1/2)."""

    centre: np.ndarray
    outline: np.ndarray


def outline(centre: np.ndarray, sigma: np.ndarray, product: float = 0.0, points: int = 73) -> np.ndarray:
    """The points [points, 2] at one sigma from a centre [2]: an ellipse, with a `product` pulled in at its corners."""
    sigma = sigma.astype(np.float64).clip(max=WIDEST)
    angle = np.linspace(0, 2 * np.pi, points)
    x, y = np.cos(angle), np.sin(angle)
    radius = np.sqrt(2 / (1 + np.sqrt(1 + 8 * np.prod(sigma**2) * product * (x * y) ** 2)))
    return centre + sigma * np.stack([x * radius, y * radius], axis=-1)


@dataclass(frozen=True, eq=False)
class Explanation:
    """n detections in `image` (RGB) with what their queries (numbers [n]) saw.

    threshold: lowest score asked for; highest_score: the best there was, also when it was too low; seen: the image's
    size as the model saw it; scale_weights [n, levels] or None; centres [n, 2] relative to the image or None.
    """

    image: Image.Image
    detections: Detections
    threshold: float
    highest_score: float
    queries: np.ndarray
    seen: ImageSize
    levels: tuple[LevelMaps, ...]
    scale_weights: np.ndarray | None
    centres: np.ndarray | None

    def __len__(self) -> int:
        return len(self.detections)

    @property
    def shortfall(self) -> str:
        """Why there is no detection and what to do, in one line; "" when there is one."""
        if len(self):
            return ""
        enough = math.floor(self.highest_score * 1000) / 1000
        return (
            f"no detection: the highest score is {self.highest_score:.3f}, below the threshold {self.threshold:g}; "
            f"--threshold {enough:g} lowers the bar"
        )

    def cell(self, level: LevelMaps) -> np.ndarray:
        """Width and height [2] of a level's cell in pixels of the picture."""
        size = self.detections.size
        return level.stride * np.array([size.width / self.seen.width, size.height / self.seen.height])

    def spreads(self, level: LevelMaps, index: int) -> list[Spread]:
        """Of each head of a detection, in pixels of the picture; without modulation there are none."""
        if level.head_centres is None or level.sigmas is None:
            return []
        centres, sigmas, cell = level.head_centres[index], level.sigmas[index], self.cell(level)
        products = np.zeros(len(centres)) if level.products is None else level.products[index]
        parts = zip(centres, sigmas, products.tolist(), strict=True)
        return [Spread(centre * cell, outline(centre, sigma, product) * cell) for centre, sigma, product in parts]

    def overview(self) -> Image.Image:
        """Draw one row a detection: box and spreads, G, both attentions per level, scale weights."""
        from smca.visualization.overview import overview

        return overview(self)

    def per_head(self, index: int) -> Image.Image:
        """Draw detection `index` with every head and level."""
        from smca.visualization.per_head import per_head

        return per_head(self, index)

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays, by the names of the module's list."""
        found = self.detections
        optional = {"scale_weights": self.scale_weights, "centres": self.centres}
        return {
            "boxes": found.boxes,
            "scores": found.scores,
            "labels": found.labels,
            "names": np.array(found.names, dtype=str),
            "queries": self.queries,
            "picture_size": np.array(found.size),
            "seen_size": np.array(self.seen),
            "threshold": np.array(self.threshold),
            "highest_score": np.array(self.highest_score),
            "level_names": np.array([level.name for level in self.levels]),
            "strides": np.array([level.stride for level in self.levels]),
            "offsets": np.array([level.offset for level in self.levels]),
            **{name: value for name, value in optional.items() if value is not None},
            **{f"{name}_{level.name}": value for level in self.levels for name, value in level.arrays().items()},
        }

    def to_json(self) -> dict[str, Any]:
        """What explain.json holds, all lengths in pixels of the picture; a sigma without bound is null."""
        size = self.detections.size
        return {
            "width": size.width,
            "height": size.height,
            "seen": {"width": self.seen.width, "height": self.seen.height},
            "threshold": self.threshold,
            "highest_score": self.highest_score,
            "levels": [{"name": one.name, "stride": one.stride, "offset": one.offset} for one in self.levels],
            "detections": [{**row, **self._looks(i)} for i, row in enumerate(self.detections.to_json())],
        }

    def _looks(self, index: int) -> dict[str, Any]:
        row: dict[str, Any] = {"query": int(self.queries[index])}
        size = self.detections.size
        if self.centres is not None:
            row["centre"] = _point(self.centres[index] * (size.width, size.height))
        if self.scale_weights is not None:
            names = [level.name for level in self.levels]
            row["scale_weights"] = dict(zip(names, self.scale_weights[index].tolist(), strict=True))
        heads = {level.name: self._heads(level, index) for level in self.levels if level.sigmas is not None}
        return {**row, "heads": heads} if heads else row

    def _heads(self, level: LevelMaps, index: int) -> list[dict[str, Any]]:
        if level.head_centres is None or level.sigmas is None:
            return []
        centres, sigmas = (values[index] * self.cell(level) for values in (level.head_centres, level.sigmas))
        return [{"centre": _point(c), "sigma": _point(s)} for c, s in zip(centres, sigmas, strict=True)]

    def save(self, folder: str | Path) -> Path:
        """Write overview.png, detection-1.png, ..., explain.json and explain.npz; an earlier run's detections go."""
        out = Path(folder)
        for earlier in out.glob(DETECTIONS):
            earlier.unlink()
        _write(out / OVERVIEW, self.overview())
        for index in range(len(self)):
            _write(out / f"detection-{index + 1}.png", self.per_head(index))
        write_json(out / "explain.json", self.to_json())
        content = io.BytesIO()
        arrays: dict[str, Any] = self.arrays()
        np.savez_compressed(content, **arrays)
        write_atomically(out / "explain.npz", content.getvalue())
        return out


def _point(xy: np.ndarray) -> dict[str, float | None]:
    return {axis: float(value) if np.isfinite(value) else None for axis, value in zip("xy", xy, strict=True)}


def _write(path: Path, picture: Image.Image) -> None:
    content = io.BytesIO()
    picture.save(content, "PNG")
    write_atomically(path, content.getvalue())
