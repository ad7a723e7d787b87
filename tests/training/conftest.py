from __future__ import annotations

from pathlib import Path

import pytest

from smca.data.scenes import make_scenes
from smca.sizes import ImageSize


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny data set: 8 images to train on, 4 held back."""
    folder = tmp_path_factory.mktemp("data") / "scenes"
    return make_scenes(folder, images=12, seed=0, size=ImageSize(height=64, width=64))
