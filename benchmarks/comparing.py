"""What the comparisons behind docs/results share: how one is run, where its records lie, a part of a train split."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from smca.files import read_json, write_json

RESULTS = Path(__file__).parents[1] / "docs" / "results"
RECORDS = RESULTS / "evidence"


def compare(
    out: Path, data: Path, systems: tuple[str, ...], epochs: int, settings: tuple[str, ...], *more: str
) -> None:
    """Make or finish a comparison."""
    words = ["--models", ",".join(systems), "--epochs", str(epochs)]
    smca("compare", str(data), *words, *(("--set", *settings) if settings else ()), *more, "--out", str(out))


def smca(*words: str) -> None:
    """Run the command line."""
    subprocess.run([sys.executable, "-m", "smca", *words], check=True)


def portable(file: Path) -> str:
    """Its text without this machine's path to the repository, where the script is run, and to what is beside it."""
    return file.read_text().replace(f"{Path.cwd()}/", "").replace(f"{Path.cwd().parent}/", "../")


def part(whole: Path, out: Path, train: slice, val: slice) -> Path:
    """A data set of pictures of another's train, in the order of their names: some to train on, others to judge by."""
    if not out.exists():
        labels = read_json(whole / "train.json")
        images = sorted(labels["images"], key=lambda image: image["file_name"])
        judged = images[val]
        learned = [image for image in images[train] if image not in judged]
        out.mkdir(parents=True)
        (out / "images").symlink_to((whole / "images").resolve())
        for split, chosen in (("train", learned), ("val", judged)):
            write_json(out / f"{split}.json", _only(labels, chosen))
    return out


def _only(labels: dict[str, Any], images: list[dict[str, Any]]) -> dict[str, Any]:
    known = {image["id"] for image in images}
    boxes = [box for box in labels["annotations"] if box["image_id"] in known]
    return {**labels, "images": images, "annotations": boxes}
