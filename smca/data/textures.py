"""Textured backgrounds of generated scenes: float32 [height, width, 3], RGB in 0..1.

A background is a scalar pattern (clouds, a gradient, stripes, checks or spots) that blends one random colour
into another of limited distance, so that whatever is painted over it can be told from it, plus a faint second
pattern.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from smca.sizes import ImageSize


def background(size: ImageSize, rng: np.random.Generator) -> np.ndarray:
    """One background of a random kind."""
    pattern = _PATTERNS[rng.integers(len(_PATTERNS))](size, rng)
    base = rng.uniform(0.05, 0.95, 3).astype(np.float32)
    contrast = rng.uniform(-0.3, 0.3, 3).astype(np.float32)
    planes = [
        base[channel] + (pattern - 0.5) * contrast[channel] + rng.uniform(0.02, 0.1) * (_clouds(size, rng) - 0.5)
        for channel in range(3)
    ]
    return np.stack(planes, axis=-1).clip(0, 1)


def _clouds(size: ImageSize, rng: np.random.Generator) -> np.ndarray:
    """Value noise of three octaves."""
    cells = int(rng.integers(2, 9))
    total = np.zeros(size, np.float32)
    for octave in range(3):
        total += _value_noise(size, cells * 3**octave, rng) / 2**octave
    return _to_unit(total)


def _value_noise(size: ImageSize, cells: int, rng: np.random.Generator) -> np.ndarray:
    grid = Image.fromarray(rng.random((cells + 1, cells + 1), dtype=np.float32))
    return np.asarray(grid.resize((size.width, size.height), Image.Resampling.BICUBIC))


def _gradient(size: ImageSize, rng: np.random.Generator) -> np.ndarray:
    return _to_unit(_ramp(size, rng))


def _stripes(size: ImageSize, rng: np.random.Generator) -> np.ndarray:
    wave = np.sin(_ramp(size, rng) * 2 * np.pi / _period(rng))
    return _to_unit(np.clip(wave * rng.uniform(1, 4), -1, 1))


def _checks(size: ImageSize, rng: np.random.Generator) -> np.ndarray:
    period = _period(rng)
    waves = [np.sin(_ramp(size, rng) * 2 * np.pi / period) for _ in range(2)]
    return _to_unit(np.clip(waves[0] * waves[1] * rng.uniform(1, 5), -1, 1))


def _spots(size: ImageSize, rng: np.random.Generator) -> np.ndarray:
    noise = _to_unit(_value_noise(size, int(rng.integers(6, 25)), rng))
    return np.clip((noise - rng.uniform(0.4, 0.6)) * rng.uniform(4, 12) + 0.5, 0, 1)


def _ramp(size: ImageSize, rng: np.random.Generator) -> np.ndarray:
    """Pixels along a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    rows = np.arange(size.height, dtype=np.float32)[:, None]
    columns = np.arange(size.width, dtype=np.float32)[None, :]
    return rows * np.float32(np.sin(angle)) + columns * np.float32(np.cos(angle))


def _period(rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(8), np.log(100))))


def _to_unit(field: np.ndarray) -> np.ndarray:
    low, high = field.min(), field.max()
    return ((field - low) / max(high - low, 1e-6)).astype(np.float32)


_PATTERNS = (_clouds, _gradient, _stripes, _checks, _spots)
