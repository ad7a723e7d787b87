"""Pictures that look alike are found, whatever was done to their file; others and flat ones are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from smca.data.twins import thumbnail, twins


def photo(seed: int) -> Image.Image:
    """Soft blobs, as photographs are soft."""
    noise = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), np.uint8)
    return Image.fromarray(noise).resize((160, 120), Image.Resampling.BICUBIC)


def saved(folder: Path, *pictures: Image.Image) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        picture.save(path)
    return paths


def alike(paths: list[Path]) -> list[tuple[int, int]]:
    return twins([thumbnail(path) for path in paths])


def test_other_pictures_are_no_twins(tmp_path: Path) -> None:
    assert alike(saved(tmp_path, *map(photo, range(30)))) == []


def test_copies_are_found(tmp_path: Path) -> None:
    one, other = photo(0), photo(1)
    one.save(tmp_path / "small.jpg", quality=30)
    bright = ImageEnhance.Brightness(one).enhance(1.02)
    paths = saved(tmp_path, one, other, one.resize((320, 240)), other, bright)
    found = alike([*paths, tmp_path / "small.jpg"])
    assert (1, 3) in found
    assert {index for pair in found for index in pair if pair != (1, 3)} == {0, 2, 4, 5}


def test_flat_pictures_are_nobodys_twins(tmp_path: Path) -> None:
    assert alike(saved(tmp_path, *(Image.new("RGB", (40, 30), colour) for colour in ("black", "black", "gray")))) == []


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_to_compare(tmp_path: Path, count: int) -> None:
    assert alike(saved(tmp_path, *map(photo, range(count)))) == []
