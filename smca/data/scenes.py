"""Generated scenes: a detection data set made from nothing, in COCO format.

A scene is a textured background with 1 to 12 glyphs (handwritten digits or shapes) whose longer side is
log-uniform in 12..120 pixels, painted one over the other in colours whose luminance differs from what lies
beneath. Glyphs overlap, but what the boxes of its neighbours cover of an object's box adds up to at most 40
%. Boxes are tight around the ink that stays visible. One fifth of the images, at least four, goes to `val`,
unless another number is asked for, and shows glyphs that `train` never does.

Everything follows from `seed`, bit for bit; scene i of a split does not depend on how many others there are.
Raises ConfigurationError for impossible settings, OutputError for a folder in use.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from smca.data.glyphs import INK, Glyphs, digits, ink_box, shapes
from smca.data.textures import background
from smca.errors import ConfigurationError
from smca.files import claim_folder, write_json
from smca.sizes import ImageSize

STANDARD_SIZE = ImageSize(height=320, width=320)
SMALLEST, LARGEST = 12, 120  # pixels of an object's longer side
MOST_OBJECTS = 12
VAL_FRACTION = 0.2
_COVERED = 0.4  # the largest part of a box that other boxes may cover
_CONTRAST = 0.3  # the least luminance (0..1) between a glyph and what it is painted on
_GRAIN = 0.025
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)

GlyphKind = Literal["digits", "shapes"]


@dataclass(frozen=True)
class Scene:
    """image uint8 [h, w, 3]; boxes int [n, 4] x1 y1 x2 y2 in pixels; labels int [n]."""

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray


def make_scenes(
    out: Path | str,
    images: int,
    seed: int = 0,
    size: ImageSize = STANDARD_SIZE,
    glyphs: GlyphKind = "digits",
    val_images: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write `train.json`, `val.json` and `images/` into `out`; `progress(done, total)` is called after each
    image.
    """
    held_back = max(4, round(images * VAL_FRACTION)) if val_images is None else val_images
    _check(images, size, held_back)
    train, val = _glyphs(glyphs, seed).split(VAL_FRACTION, np.random.default_rng((seed, 2)))
    report = _counter(images, progress)
    with _complete_or_absent(Path(out)) as folder:
        (folder / "images").mkdir()
        for number, (name, bank, count) in enumerate((("train", train, images - held_back), ("val", val, held_back))):
            rngs = (np.random.default_rng((seed, number, index)) for index in range(count))
            scenes = (make_scene(bank, size, rng) for rng in rngs)
            write_json(folder / f"{name}.json", _write_split(folder / "images", name, scenes, bank, report))
    return Path(out)


def make_scene(glyphs: Glyphs, size: ImageSize, rng: np.random.Generator) -> Scene:
    """One scene of the glyphs given."""
    image = background(size, rng)
    owner = np.full(size, -1, np.int8)  # the number of the object whose ink a pixel shows
    labels, corners = [], np.zeros((0, 4))
    for _ in range(rng.integers(1, MOST_OBJECTS + 1)):
        label = int(rng.integers(len(glyphs.names)))
        bank = glyphs.masks[label]
        mask = _scaled(bank[rng.integers(len(bank))], size, rng)
        box = _free_place(mask.shape, corners, size, rng)
        if box is None:
            continue
        left, top, right, bottom = box
        _paint(image[top:bottom, left:right], mask, rng)
        owner[top:bottom, left:right][mask >= INK] = len(labels)
        labels.append(label)
        corners = np.vstack([corners, box])
    visible = [number for number in range(len(labels)) if (owner == number).any()]
    boxes = np.array([ink_box(owner == number) for number in visible])
    return Scene(_grainy(image, rng), boxes, np.array(labels)[visible])


def _grainy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """uint8 from float32 in 0..1, with a sensor's noise."""
    grain = rng.standard_normal(image.shape, dtype=np.float32)
    grain *= np.float32(_GRAIN)
    grain += image
    return np.rint(grain.clip(0, 1, out=grain) * 255).astype(np.uint8)


def _check(images: int, size: ImageSize, held_back: int) -> None:
    if images <= held_back:
        raise ConfigurationError(
            f"{images} images are too few for scenes: at least {held_back + 1} ({held_back} for val)"
        )
    if min(size) < 2 * SMALLEST:
        least = ImageSize(height=2 * SMALLEST, width=2 * SMALLEST)
        raise ConfigurationError(f"scenes of {size} pixels are too small: at least {least}")


def _glyphs(kind: GlyphKind, seed: int) -> Glyphs:
    if kind == "digits":
        return digits()
    if kind == "shapes":
        return shapes(np.random.default_rng((seed, 3)))
    raise ConfigurationError(f"unknown glyphs '{kind}': allowed are 'digits' and 'shapes'")


def _scaled(mask: np.ndarray, size: ImageSize, rng: np.random.Generator) -> np.ndarray:
    """The mask with its longer side log-uniform in 12..120 pixels (at most three quarters of the image's
    shorter side).
    """
    largest = min(LARGEST, 0.75 * min(size))
    longer = np.exp(rng.uniform(np.log(SMALLEST), np.log(largest)))
    height, width = (max(3, round(longer * side / max(mask.shape))) for side in mask.shape)
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.BICUBIC))


def _free_place(
    shape: tuple[int, ...], taken: np.ndarray, size: ImageSize, rng: np.random.Generator
) -> tuple[int, int, int, int] | None:
    """The first of 50 random places where no box ends up covered by more than 40 %; None if there is none."""
    height, width = shape
    for _ in range(50):
        left = int(rng.integers(size.width - width + 1))
        top = int(rng.integers(size.height - height + 1))
        box = (left, top, left + width, top + height)
        if _covered(np.vstack([taken, box])).max() <= _COVERED:
            return box
    return None


def _covered(boxes: np.ndarray) -> np.ndarray:
    """For each box [n, 4] x1 y1 x2 y2, the sum of its intersections with the others, as a part of its own
    area.
    """
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = (high - low).clip(min=0).prod(axis=-1)
    own = shared.diagonal()
    return (shared.sum(axis=1) - own) / own


def _paint(region: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> None:
    """Blend a colour that stands out into region [h, w, 3], in place, as far as mask [h, w] says."""
    beneath = float((region @ _LUMINANCE).mean())
    colours = rng.random((16, 3), dtype=np.float32)
    distance = np.abs(colours @ _LUMINANCE - beneath)
    fitting = np.flatnonzero(distance >= _CONTRAST)
    colour = colours[fitting[0] if len(fitting) else distance.argmax()]
    alpha = (mask / np.float32(255))[..., None]
    region += alpha * (colour - region)


def _write_split(
    folder: Path, name: str, scenes: Iterator[Scene], glyphs: Glyphs, report: Callable[[], None]
) -> dict[str, list[dict[str, object]]]:
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for index, scene in enumerate(scenes):
        file_name = f"{name}_{index:05}.jpg"
        Image.fromarray(scene.image).save(folder / file_name, quality=92, subsampling=0)
        height, width = scene.image.shape[:2]
        images.append({"id": index + 1, "file_name": file_name, "width": width, "height": height})
        for box, label in zip(scene.boxes.tolist(), scene.labels.tolist(), strict=True):
            annotations.append(_annotation(len(annotations) + 1, index + 1, box, label))
        report()
    categories: list[dict[str, object]] = [{"id": i + 1, "name": name} for i, name in enumerate(glyphs.names)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _annotation(number: int, image: int, box: list[int], label: int) -> dict[str, object]:
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    return {
        "id": number,
        "image_id": image,
        "category_id": label + 1,
        "bbox": [left, top, width, height],
        "area": width * height,
        "iscrowd": 0,
    }


def _counter(total: int, progress: Callable[[int, int], None] | None) -> Callable[[], None]:
    done = 0

    def one_more() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    return one_more


@contextmanager
def _complete_or_absent(out: Path) -> Iterator[Path]:
    """A hidden folder whose content moves to `out` when the block ends well and vanishes otherwise."""
    claim_folder(out)
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=out) as name:
        folder = Path(name)
        yield folder
        for item in sorted(folder.iterdir()):
            item.replace(out / item.name)
