"""Which files names mean, and which pictures can be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from smca.errors import DataError
from smca.inference.sources import Source, camera_number, describe, list_images, list_sources, read_image


def test_folder_means_all_its_images(folder: Path) -> None:
    found = [str(path.relative_to(folder)) for path in list_images([folder])]
    assert found == ["a.JPG", "b.png", "c.bmp", "sub/a.png", "sub/d.webp"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", ["b.png"]),
        ("**/*.png", ["b.png", "sub/a.png"]),
        ("[ab].*", ["a.JPG", "b.png"]),
        ("*", ["a.JPG", "b.png", "c.bmp"]),
    ],
)
def test_globs(folder: Path, pattern: str, expected: list[str]) -> None:
    assert [str(path.relative_to(folder)) for path in list_images([f"{folder}/{pattern}"])] == expected


def test_relative_glob(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert list_images(["sub/*.png"]) == [Path("sub/a.png")]


def test_order_is_that_given_and_each_file_comes_once(folder: Path) -> None:
    found = list_images([folder / "c.bmp", str(folder / "b.png"), folder, folder / "sub" / ".." / "c.bmp"])
    assert [path.name for path in found] == ["c.bmp", "b.png", "a.JPG", "a.png", "d.webp"]


def test_file_named_outright_is_taken_whatever_its_name(folder: Path) -> None:
    odd = folder / "what[1].dat"
    odd.write_bytes((folder / "b.png").read_bytes())
    assert list_images([odd]) == [odd]


@pytest.mark.parametrize(
    ("name", "message"),
    [("nothing.png", "no file or folder"), ("*.tif", "holds no image"), ("empty", "holds no image")],
)
def test_what_leads_to_nothing_is_an_error(folder: Path, name: str, message: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        list_images([folder / name])


def test_every_kind_of_picture_reads_alike(folder: Path, pictures: list[np.ndarray]) -> None:
    array = pictures[0]
    expected = torch.from_numpy(array).permute(2, 0, 1)
    kinds = (
        folder / "b.png",
        str(folder / "b.png"),
        Image.fromarray(array),
        array,
        array[:, ::-1][:, ::-1],
        expected,
    )
    assert all(torch.equal(read_image(kind), expected) for kind in kinds)


def test_grey_array_is_repeated_over_channels() -> None:
    image = read_image(np.full((4, 6), 7, np.uint8))
    assert image.shape == (3, 4, 6)
    assert (image == 7).all()


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        torch.zeros(4, 4, 3, dtype=torch.uint8),
        torch.zeros(3, 4, 4),
    ],
    ids=["float array", "four channels", "no pixels", "channels last tensor", "float tensor"],
)
def test_other_pictures_are_refused(picture: np.ndarray | torch.Tensor) -> None:
    with pytest.raises(DataError, match="image"):
        read_image(picture)


def test_description() -> None:
    assert describe(Path("a/b.png"), 3) == "a/b.png"
    assert describe(np.zeros((1, 1, 3), np.uint8), 3) == "image 3"


def test_kinds_of_sources(folder: Path) -> None:
    for name in ("d.mp4", "e.HEIC", "sub/f.MOV"):
        (folder / name).touch()
    found = list_sources([f"{folder}/*", "https://host/a%20b.png?x=1", "http://host/c.webm", f"{folder}/sub/f.MOV"])
    assert [(source.kind, source.url, source.stem) for source in found] == [
        ("image", False, "a"),
        ("image", False, "b"),
        ("image", False, "c"),
        ("video", False, "d"),
        ("image", False, "e"),
        ("image", True, "a_b"),
        ("video", True, "c"),
        ("video", False, "f"),
    ]
    assert list_sources(["http://host/x/..%2f..%2Fetc", "http://host"])[0].stem == "etc"
    assert list_sources(["http://host"])[0].stem == "host"


@pytest.mark.parametrize(("name", "number"), [("webcam", 0), ("webcam:0", 0), ("webcam:12", 12)])
def test_cameras(name: str, number: int) -> None:
    assert list_sources([name, name]) == [Source(name, "camera")]
    assert camera_number(name) == number


def test_a_folder_called_webcam_is_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "sub").rename("webcam")
    assert [source.kind for source in list_sources(["webcam"])] == ["image", "image"]


@pytest.mark.parametrize("name", ["file:///etc/passwd", "ftp://host/a.png", "webcam:x", "webcam:1:2"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(DataError, match=name):
        list_sources([name])
