"""Prediction from names to files: what `smca predict` does.

Writes a drawn picture for each image and, at the end, predictions.json:
[{"image", "width", "height", "detections": [{"label", "score", "box": [x1, y1, x2, y2]}]}], boxes in pixels
of the original image. Images that cannot be read are listed and in the report; DataError when none can.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from smca.detections import Detections
from smca.errors import DataError, OutputError
from smca.files import write_atomically, write_json
from smca.inference.loading import Precision, load, processor_of
from smca.inference.predict import predict_batch
from smca.inference.sources import list_images, read_image
from smca.progress import Progress


@dataclass(frozen=True)
class PredictionReport:
    """Where the predictions are, how many images they cover, and why each other image could not be read."""

    predictions: Path
    images: int
    unreadable: tuple[str, ...]


def predict_files(
    model_folder: str | Path,
    sources: Sequence[str | Path],
    out: Path,
    *,
    threshold: float | None = None,
    batch: int = 1,
    device: str | None = None,
    precision: Precision = "fp32",
    compile: bool = False,
) -> PredictionReport:
    """Predict on files, folders and globs; write into `out`, where files of the same name are replaced."""
    paths = list_images(sources)
    pictures = _picture_names(paths, out)
    model = load(model_folder, device, precision, compile)
    processor = processor_of(model)
    entries: list[dict[str, Any]] = []
    unreadable: list[str] = []
    with Progress("predicting") as progress:
        for start in range(0, len(paths), batch):
            images = _read(paths[start : start + batch], unreadable)
            names = [str(path) for path in images]
            found = predict_batch(model, processor, list(images.values()), names, threshold) if images else []
            for (path, image), detections in zip(images.items(), found, strict=True):
                _draw(image, detections, pictures[path])
                entries.append(_entry(path, detections))
            progress(min(start + batch, len(paths)), len(paths))
        _list(unreadable, len(paths), progress)
    write_json(out / "predictions.json", entries)
    return PredictionReport(out / "predictions.json", len(entries), tuple(unreadable))


def _read(paths: Sequence[Path], unreadable: list[str]) -> dict[Path, Tensor]:
    read = {path: _read_or_list(path, unreadable) for path in paths}
    return {path: image for path, image in read.items() if image is not None}


def _read_or_list(path: Path, unreadable: list[str]) -> Tensor | None:
    try:
        return read_image(path)
    except DataError as error:
        unreadable.append(str(error))
        return None


def _list(unreadable: Sequence[str], total: int, progress: Progress) -> None:
    if len(unreadable) == total:
        others = f" (nor any of the other {total - 1})" if total > 1 else ""
        raise DataError(f"{unreadable[0]}{others}")
    if unreadable:
        progress.print("\n  ".join([f"{len(unreadable)} of {total} images skipped:", *unreadable]))


def _entry(path: Path, detections: Detections) -> dict[str, Any]:
    size = detections.size
    return {
        "image": str(path),
        "width": size.width,
        "height": size.height,
        "detections": detections.to_json(),
    }


def _draw(image: Tensor, detections: Detections, path: Path) -> None:
    content = io.BytesIO()
    detections.draw(to_pil_image(image)).save(content, "JPEG", quality=92)
    write_atomically(path, content.getvalue())


def _picture_names(paths: Sequence[Path], out: Path) -> dict[Path, Path]:
    """A name in `out` for each image: its own stem, numbered where another image had it first."""
    originals = {path.resolve() for path in paths}
    taken: set[str] = set()
    names: dict[Path, Path] = {}
    for path in paths:
        number, stem = 1, path.stem
        while stem in taken:
            number += 1
            stem = f"{path.stem}-{number}"
        taken.add(stem)
        names[path] = out / f"{stem}.jpg"
        if names[path].resolve() in originals:
            raise OutputError(f"writing into {out} would replace the image {names[path]}; choose another folder")
    return names
