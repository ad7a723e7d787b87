"""A very small model, and trees of pictures with bad ones among them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.inference.small_model import save_small_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of random weights."""
    folder = tmp_path_factory.mktemp("model")
    save_small_model(folder, ("cat", "dog", "cow"))
    return folder


@pytest.fixture(scope="session")
def make_tree() -> Callable[[Path, int], Path]:
    """Write so many pictures of noise, of several sizes, into a folder and one below, an empty and a torn one too."""

    def make(folder: Path, count: int) -> Path:
        rng = np.random.default_rng(0)
        (folder / "sub").mkdir(parents=True)
        for number in range(count):
            height, width = 20 + 7 * (number % 5), 30 + 11 * (number % 3)
            picture = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
            picture.save(folder / ("sub" if number % 3 else ".") / f"{number:04d}.png")
        (folder / "empty.jpg").touch()
        (folder / "sub" / "torn.png").write_bytes((folder / "0000.png").read_bytes()[:300])
        return folder

    return make
