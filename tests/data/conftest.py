"""Small data sets on disk, described by what differs from a plain one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

CocoWriter = Callable[..., Path]


@pytest.fixture
def write_coco(tmp_path: Path) -> CocoWriter:
    """Write a COCO file with 64 x 48 pixel images and return its path."""

    def write(
        file: str = "train.json",
        images: Sequence[Mapping[str, Any]] = ({"id": 1, "file_name": "a.png"},),
        annotations: Sequence[Mapping[str, Any]] = (),
        categories: Sequence[Mapping[str, Any]] = ({"id": 1, "name": "cat"},),
        folder: str = "images",
    ) -> Path:
        for image in images:
            path = tmp_path / folder / str(image["file_name"])
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (64, 48), "gray").save(path)
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"images": images, "annotations": annotations, "categories": categories}
        path.write_text(json.dumps(content))
        return path

    return write


def annotation(
    bbox: object = (1, 2, 10, 20), image: object = 1, category: object = 1, **more: object
) -> dict[str, object]:
    return {"id": 7, "image_id": image, "category_id": category, "bbox": bbox, **more}
