from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from smca.data.images import check_image, load_image, read_header, to_tensor
from smca.errors import DataError
from smca.sizes import ImageSize


def pixel(tensor: torch.Tensor, row: int = 0, column: int = 0) -> list[int]:
    return tensor[:, row, column].tolist()


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGB", (10, 20, 30), [10, 20, 30]),
        ("L", 77, [77, 77, 77]),
        ("1", 1, [255, 255, 255]),
        ("CMYK", (0, 0, 0, 255), [0, 0, 0]),
        ("RGBA", (200, 0, 0, 255), [200, 0, 0]),
        ("RGBA", (200, 0, 0, 0), [255, 255, 255]),
        ("LA", (0, 0), [255, 255, 255]),
        ("I;16", 65535, [255, 255, 255]),
        ("I;16", 32896, [128, 128, 128]),
        ("I", 257, [1, 1, 1]),
    ],
)
def test_modes_become_rgb(mode: str, colour: float | tuple[float, ...], expected: list[int]) -> None:
    tensor = to_tensor(Image.new(mode, (2, 3), colour))
    assert tensor.shape == (3, 3, 2)
    assert tensor.dtype == torch.uint8
    assert pixel(tensor) == expected


def test_transparent_palette_is_laid_over_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 2), 0)
    image.putpalette([0, 0, 0, 9, 9, 9])
    image.save(tmp_path / "a.png", transparency=0)
    assert pixel(load_image(tmp_path / "a.png")) == [255, 255, 255]


def test_sixteen_bit_file(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 5), 257 * 90, np.uint16)).save(tmp_path / "a.png")
    assert pixel(load_image(tmp_path / "a.png")) == [90, 90, 90]


def test_grey_jpeg_from_bytes() -> None:
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 100).save(buffer, "JPEG")
    assert load_image(buffer.getvalue()).shape == (3, 8, 8)


def test_extreme_shape(tmp_path: Path) -> None:
    Image.new("RGB", (5000, 20)).save(tmp_path / "a.jpg")
    assert load_image(tmp_path / "a.jpg").shape == (3, 20, 5000)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_in_the_header(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.new("RGB", (6, 4)).save(tmp_path / "a.jpg", exif=exif)
    header = read_header(tmp_path / "a.jpg")
    assert header.stored == ImageSize(height=4, width=6)
    assert load_image(tmp_path / "a.jpg").shape[1:] == tuple(header.size)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".gif"])
def test_truncated_is_refused_with_its_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    assert check_image(path).size == ImageSize(height=60, width=60)
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(DataError, match=f"a{suffix} cannot be read: ") as caught:
        load_image(path)
    with pytest.raises(DataError):
        check_image(path)
    assert "\n" not in str(caught.value)


def test_complete_with_a_trailer_is_accepted(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg")
    with (tmp_path / "a.jpg").open("ab") as file:
        file.write(b"maker's own trailer")
    assert check_image(tmp_path / "a.jpg").size == ImageSize(height=6, width=8)


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_not_an_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.jpg cannot be read"):
        load_image(tmp_path / "a.jpg")


def test_missing_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.jpg does not exist"):
        load_image(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="cannot be read"):
        load_image(tmp_path)


def test_huge_header_is_refused_before_decoding(tmp_path: Path) -> None:
    header = b"P6 60000 60000 255\n"
    (tmp_path / "a.ppm").write_bytes(header + b"\0" * 30)
    with pytest.raises(DataError, match="exceeds limit"):
        read_header(tmp_path / "a.ppm")


def test_floating_point_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((3, 3), np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(DataError, match=r"a\.tiff cannot be read: floating-point"):
        load_image(tmp_path / "a.tiff")
