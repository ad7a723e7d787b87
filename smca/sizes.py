"""Image sizes in pixels with named fields, so that height and width are never confused."""

from __future__ import annotations

from typing import NamedTuple


class ImageSize(NamedTuple):
    """Height and width in pixels."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"
