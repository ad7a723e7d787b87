from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smca.data.glyphs import INK, Glyphs, crop_to_ink, digits, ink_box, shapes
from smca.data.reading import read_data
from smca.data.scenes import MOST_OBJECTS, GlyphKind, _covered, make_scene, make_scenes
from smca.data.textures import background
from smca.errors import ConfigurationError, OutputError
from smca.sizes import ImageSize

SMALL = ImageSize(height=96, width=128)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_same_seed_same_bytes_and_other_seed_other_bytes(tmp_path: Path) -> None:
    first, second, other = (
        content(make_scenes(tmp_path / str(number), 6, seed=seed, size=SMALL)) for number, seed in enumerate((0, 0, 1))
    )
    assert first == second
    assert all(first[name] != other[name] for name in first)


def test_a_scene_does_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    few, many = (content(make_scenes(tmp_path / str(n), n, size=SMALL)) for n in (6, 9))
    assert few["train_00001.jpg"] == many["train_00001.jpg"]


@pytest.mark.parametrize(("images", "asked", "val"), [(5, None, 4), (12, None, 4), (30, None, 6), (9, 2, 2)])
def test_one_fifth_at_least_four_goes_to_val_or_what_was_asked(
    tmp_path: Path, images: int, asked: int | None, val: int
) -> None:
    calls: list[tuple[int, int]] = []

    def note(done: int, total: int) -> None:
        calls.append((done, total))

    make_scenes(tmp_path / "s", images, size=SMALL, val_images=asked, progress=note)
    data = read_data(tmp_path / "s")
    assert data.val is not None
    assert (len(data.train.records), len(data.val.records)) == (images - val, val)
    assert calls == [(done, images) for done in range(1, images + 1)]
    assert data.train.findings.total == 0
    assert data.train.class_names == tuple("0123456789")


@pytest.mark.parametrize("kind", ["digits", "shapes"])
def test_objects_number_size_and_place(tmp_path: Path, kind: GlyphKind) -> None:
    make_scenes(tmp_path / "s", 30, glyphs=kind)
    train = read_data(tmp_path / "s").train
    sides = np.concatenate([(r.boxes[:, 2:] - r.boxes[:, :2]).max(axis=1) for r in train.records])
    assert {1 <= len(record.boxes) <= MOST_OBJECTS for record in train.records} == {True}
    assert sides.max() <= 120
    assert 25 < np.median(sides) < 55  # log-uniform in 12..120 has its median at 38
    assert max(_covered(record.boxes).max() for record in train.records) <= 0.41
    assert any(_covered(record.boxes).max() > 0 for record in train.records)


def test_train_and_val_share_no_glyph() -> None:
    train, val = digits().split(0.2, np.random.default_rng(0))
    assert train.names == val.names
    for first, second in zip(train.masks, val.masks, strict=True):
        assert not {mask.tobytes() for mask in first} & {mask.tobytes() for mask in second}
        assert len(second) / (len(first) + len(second)) == pytest.approx(0.2, abs=0.01)


def test_boxes_are_tight_around_what_stands_out() -> None:
    square = np.full((40, 40), 255, np.uint8)
    scene = make_scene(Glyphs(("square",), ((square,),)), SMALL, np.random.default_rng(3))
    luminance = scene.image @ np.array([0.299, 0.587, 0.114])
    for left, top, right, bottom in scene.boxes:
        inside = luminance[top:bottom, left:right].mean()
        ring = luminance[max(0, top - 3) : bottom + 3, max(0, left - 3) : right + 3]
        outside = (ring.sum() - inside * (bottom - top) * (right - left)) / (
            ring.size - (bottom - top) * (right - left)
        )
        assert abs(inside - outside) > 30


def test_glyphs_are_ink_to_their_edges() -> None:
    for bank in (digits(), shapes(np.random.default_rng(0))):
        for masks in bank.masks:
            height, width = masks[0].shape
            assert ink_box(masks[0] >= INK) == (0, 0, width, height)
            assert len(masks) > 100


def test_ink_box_and_crop() -> None:
    mask = np.zeros((9, 12), np.uint8)
    mask[2:5, 3:10] = 255
    assert ink_box(mask > 0) == (3, 2, 10, 5)
    assert crop_to_ink(mask).shape == (3, 7)


def test_backgrounds_are_textured_and_in_range() -> None:
    for seed in range(20):
        image = background(SMALL, np.random.default_rng(seed))
        assert image.shape == (96, 128, 3)
        assert image.min() >= 0
        assert image.max() <= 1
        assert image.std(axis=(0, 1)).max() > 0.005


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": 4}, "4 images are too few"),
        ({"images": 30, "val_images": 30}, "at least 31 .30 for val."),
        (
            {"images": 5, "size": ImageSize(height=10, width=300)},
            "10x300 pixels are too small: at least 24x24",
        ),
        ({"images": 5, "glyphs": "letters"}, "allowed are 'digits' and 'shapes'"),
    ],
)
def test_impossible_settings_leave_nothing(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_scenes(tmp_path / "s", **change)
    assert not (tmp_path / "s").exists()


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError):
        make_scenes(tmp_path, 5, size=SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_interruption_leaves_nothing_half_written(tmp_path: Path) -> None:
    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_scenes(tmp_path / "s", 5, size=SMALL, progress=stop)
    assert list((tmp_path / "s").iterdir()) == []


def test_smallest_size_works(tmp_path: Path) -> None:
    make_scenes(tmp_path / "s", 5, size=ImageSize(height=24, width=24))
    file = json.loads((tmp_path / "s" / "train.json").read_text())
    assert file["images"][0]["width"] == 24
    assert all(min(annotation["bbox"][2:]) > 0 for annotation in file["annotations"])
