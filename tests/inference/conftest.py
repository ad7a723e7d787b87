"""A very small model, in memory and as a folder, and pictures of several sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smca.modeling.detector import SmcaForObjectDetection
from tests.inference.small_model import save_small_model

NAMES = ("cat", "dog", "cow")


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model of random weights that never saw anything."""
    folder = tmp_path_factory.mktemp("model")
    save_small_model(folder, NAMES)
    return folder


@pytest.fixture(scope="session")
def model(model_folder: Path) -> SmcaForObjectDetection:
    """Return that model, loaded."""
    return SmcaForObjectDetection.from_pretrained(model_folder).eval()


@pytest.fixture(scope="session")
def pictures() -> list[np.ndarray]:
    """Return noise of five sizes, [height, width, 3]."""
    rng = np.random.default_rng(0)
    sizes = ((64, 64), (50, 90), (120, 40), (1, 1), (33, 200))
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


@pytest.fixture
def folder(tmp_path: Path, pictures: list[np.ndarray]) -> Path:
    """Return a folder of five images, two of them below, beside things that are no images."""
    place = tmp_path / "images"
    (place / "sub" / ".hidden").mkdir(parents=True)
    names = ("b.png", "a.JPG", "c.bmp", "sub/a.png", "sub/d.webp")
    for name, picture in zip(names, pictures, strict=True):
        Image.fromarray(picture).save(place / name)
    Image.fromarray(pictures[0]).save(place / "sub" / ".hidden" / "e.png")
    (place / "notes.txt").write_text("not an image")
    return place
