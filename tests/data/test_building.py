from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from smca.data.building import RawBox, build_record, find_image
from smca.data.images import ImageHeader, load_image, read_header
from smca.data.records import Findings
from smca.sizes import ImageSize

WIDE = ImageHeader(ImageSize(height=48, width=64), orientation=1)
coordinate = st.floats(width=64, allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(coordinate, coordinate, coordinate, coordinate), max_size=5))
def test_boxes_end_inside_with_area_and_all_are_accounted_for(corners: list[tuple[float, ...]]) -> None:
    findings = Findings()
    raw = [RawBox(str(i), (x1, y1, x2, y2), label=i) for i, (x1, y1, x2, y2) in enumerate(corners)]
    record = build_record(1, Path("a.png"), WIDE, None, raw, findings)
    assert record.boxes.shape == (len(record.labels), 4)
    assert record.boxes.dtype == np.float32
    assert (record.boxes[:, 2:] > record.boxes[:, :2]).all()
    assert (record.boxes >= 0).all()
    assert (record.boxes <= [64, 48, 64, 48]).all()
    assert (record.areas > 0).all()
    assert len(record.labels) + len(findings.dropped_boxes) == len(raw)


def test_stated_area_is_kept_and_a_missing_one_is_the_box() -> None:
    raw = [
        RawBox("a", (0, 0, 4, 5), 0, area=7.0),
        RawBox("b", (0, 0, 4, 5), 0),
        RawBox("c", (-4, 0, 4, 5), 0),
    ]
    record = build_record(1, Path("a.png"), WIDE, None, raw, Findings())
    assert record.areas.tolist() == [7, 20, 20]


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_turn_with_an_image_annotated_as_stored(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "a.png"
    image = Image.new("RGB", (64, 48))
    image.paste("white", (10, 20, 30, 25))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image.save(path, exif=exif)
    findings = Findings()
    header = read_header(path)
    record = build_record(1, path, header, header.stored, [RawBox("a", (10, 20, 30, 25), 0)], findings)
    left, top, right, bottom = record.boxes[0].astype(int)
    white = load_image(path)[0] == 255
    assert white[top:bottom, left:right].all()
    assert white.sum() == 20 * 5
    assert findings.turned_images == ["a.png"]


def test_size_of_the_file_wins_and_is_noted() -> None:
    findings = Findings()
    declared = ImageSize(height=10, width=10)
    record = build_record(1, Path("a.png"), WIDE, declared, [RawBox("a", (0, 0, 40, 40), 0)], findings)
    assert record.size == ImageSize(height=48, width=64)
    assert record.boxes.tolist() == [[0, 0, 40, 40]]
    assert findings.wrong_sizes == ["a.png is 48x64, declared 10x10"]


def test_images_are_found_by_path_then_by_name(tmp_path: Path) -> None:
    for name in ("sub/a.png", "a.png", "b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (2, 2)).save(tmp_path / name)
    findings = Findings()
    found = [find_image(name, [tmp_path], findings) for name in ("sub\\a.png", "elsewhere/b.png", "c.png")]
    assert [file and file[0].relative_to(tmp_path).as_posix() for file in found] == [
        "sub/a.png",
        "b.png",
        None,
    ]
    assert findings.missing_images == ["c.png"]
