"""`smca data check`: what is wrong is found, what is said fits the data, the page is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from smca.doctor import advice, check, findings, numbers, write_page
from tests.data.test_twins import photo


def write(root: Path, boxes: list[list[float]], **more: Any) -> Path:
    """Two splits of two pictures each, all boxes on the first of train."""
    for split, seeds in (("train", (0, 1)), ("val", (2, more.get("last", 3)))):
        images = [{"id": seed, "file_name": f"{split}{index}.png"} for index, seed in enumerate(seeds)]
        for image in images:
            path = root / "images" / image["file_name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            photo(int(image["id"])).save(path)
        own = boxes if split == "train" else [[0, 0, 40, 40]]
        annotations = [
            {"id": number, "image_id": seeds[0], "category_id": 1, "bbox": box} for number, box in enumerate(own)
        ]
        categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"{split}.json").write_text(json.dumps(content))
    return root


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    data = write(tmp_path, [[0, 0, 30, 30], [100, 80, 90, 60], [5, 5, 0, 9]], last=0)
    (data / "images" / "train1.png").write_bytes(b"no picture")
    said = "\n".join(findings(check(data)))
    for expected in (
        "1 pictures look alike across splits, which flatters the numbers: train0.png and val1.png",
        "train: 1 images cannot be read, skipped",
        "train: 1 boxes reach outside their image, clipped",
        "train: 1 boxes without area, dropped",
        "1 classes without a box: dog",
        "1 classes with fewer than 10 boxes: cat (3)",
        "val: 1 images without a box",
    ):
        assert expected in said


def test_small_objects_and_full_images_change_the_advice(tmp_path: Path) -> None:
    large = check(write(tmp_path / "large", [[0, 0, 60, 60]] * 3))
    assert advice(large).endswith(f"--recipe {large.recipe.name}")
    small = check(write(tmp_path / "small", [[float(i % 12) * 8, 8.0 * (i // 12), 4, 4] for i in range(100)]))
    queries = small.recipe.config().num_queries
    assert small.fullest == 100
    assert small.size * 4 / 120 >= 16 > (small.size - 32) * 4 / 120
    assert f"--image-size {small.size}" in advice(small)
    assert ("--set num_queries=125" in advice(small)) == (queries < 100)


def test_without_val_and_without_boxes(tmp_path: Path) -> None:
    checkup = check(write(tmp_path, []) / "train.json")
    assert "no val split: train with --val-fraction 0.2" in findings(checkup)
    assert "--val-fraction 0.2" in advice(checkup)
    assert numbers(checkup)["objects_in_the_fullest_image"] == 0
    assert "Data check" in write_page(checkup, tmp_path / "page").read_text()


def test_one_flat_picture(tmp_path: Path) -> None:
    Image.new("RGB", (5000, 20), "gray").save(tmp_path / "a.png")
    content = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [], "categories": [{"id": 1, "name": "x"}]}
    (tmp_path / "train.json").write_text(json.dumps(content))
    assert write_page(check(tmp_path), tmp_path / "page").is_file()
