"""Small videos, written frame by frame: frame i is of one grey level, so that it is known again."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from smca.sizes import ImageSize

SMALL = ImageSize(height=48, width=64)


def grey(index: int) -> int:
    return 30 + 20 * (index % 9)


def write_video(
    path: Path,
    frames: int = 8,
    size: ImageSize = SMALL,
    codec: str = "libx264",
    rate: int = 10,
    times: list[float] | None = None,
    rotation: int = 0,
    faststart: bool = False,
    noise: int = 0,
) -> Path:
    """times: seconds at which the frames are seen, by default evenly; noise: so many grey levels, to fill the file."""
    rng = np.random.default_rng(0)
    options = {"movflags": "+faststart"} if faststart else {}
    with av.open(str(path), "w", options=options) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = size.width, size.height, "yuv420p"
        stream.options = {"g": "4"} if codec == "libx264" else {}
        if times:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        for i in range(frames):
            pixels = np.full((*size, 3), grey(i), np.uint8) + rng.integers(0, noise + 1, (*size, 3), dtype=np.uint8)
            pixels[: size.height // 3, : size.width // 3] = (250, 20, 20)  # which corner is top left
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times:
                frame.pts, frame.time_base = round(times[i] * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
