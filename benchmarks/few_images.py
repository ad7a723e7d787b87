"""Writes a COCO folder of the first N images of a data set, each listed REPEATS times in train and once in val.

    python benchmarks/few_images.py ../shared/data/coco200 runs/coco200-eight --images 8 --repeats 20

A detector that learns must reach AP near 1 on it: `smca train runs/coco200-eight ...` then says whether it does.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from smca.files import claim_folder, read_json, write_json


def few_images(data: Path, out: Path, images: int, repeats: int) -> None:
    """Make the folder; images without any object are passed over."""
    source = read_json(data / "train.json")
    annotated = {annotation["image_id"] for annotation in source["annotations"]}
    chosen = [image for image in source["images"] if image["id"] in annotated][:images]
    folder = claim_folder(out / "images")
    for image in chosen:
        shutil.copy(data / "images" / image["file_name"], folder)
    write_json(out / "val.json", _listed(source, chosen, 1))
    write_json(out / "train.json", _listed(source, chosen, repeats))


def _listed(source: dict[str, Any], images: list[dict[str, Any]], repeats: int) -> dict[str, Any]:
    listed: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for _ in range(repeats):
        for image in images:
            identity = len(listed) + 1
            listed.append({**image, "id": identity})
            own = [part for part in source["annotations"] if part["image_id"] == image["id"]]
            annotations += [{**part, "image_id": identity, "id": len(annotations) + k} for k, part in enumerate(own, 1)]
    return {"images": listed, "annotations": annotations, "categories": source["categories"]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    few_images(options.data, options.out, options.images, options.repeats)
