"""`smca data check` and `smca data convert` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smca.data.reading import read_data
from tests.cli.conftest import Smca
from tests.damage.pictures import broken
from tests.test_doctor import write


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Of the three boxes one is whole, one reaches outside and one has no area."""
    return write(tmp_path / "data", [[0, 0, 30, 30], [100, 80, 90, 60], [5, 5, 0, 9]])


def test_check_reports_and_repairs(smca: Smca, data: Path, tmp_path: Path) -> None:
    status, said, _ = smca("data", "check", data, "--report", "page", "--fix", "fixed", "--json", "n.json")
    assert status == 0
    assert "train: 2 images, 2 boxes, at most 2 in one" in said
    assert f"begin with: smca train {data} --recipe " in said.splitlines()[-1]
    html = (tmp_path / "page" / "index.html").read_text()
    assert "1 boxes without area, dropped" in html
    assert html.count("<img") == 3  # the sizes, and train's two pictures
    assert json.loads((tmp_path / "n.json").read_text())["classes"] == {"cat": [2, 1], "dog": [0, 0]}
    repaired = read_data(tmp_path / "fixed")
    assert repaired.train.findings.total == 0
    assert repaired.train.records[0].boxes.tolist() == [[0, 0, 30, 30], [100, 80, 160, 120]]


def test_a_picture_broken_in_its_middle_is_counted_and_left_out_of_the_repair(smca: Smca, data: Path) -> None:
    (data / "images" / "train1.png").write_bytes(broken("a JPEG without tables"))
    assert len(read_data(data).train.records) == 2
    status, said, _ = smca("data", "check", data, "--fix", "fixed")
    assert status == 0
    assert "train: 1 images cannot be read, skipped: image" in said
    assert "train: 1 images, 2 boxes" in said
    assert [record.path.name for record in read_data("fixed").train.records] == ["train0.png"]


@pytest.mark.parametrize("to", ["coco", "voc", "yolo"])
def test_convert_says_what_it_wrote_and_what_it_changed(smca: Smca, data: Path, tmp_path: Path, to: str) -> None:
    status, said, _ = smca("data", "convert", data, "out", "--to", to)
    assert status == 0
    assert "train: 2 images, 2 boxes" in said
    assert "1 boxes without area, dropped" in said
    assert len(read_data(tmp_path / "out").train.records) == 2


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("check", "nowhere"), "no data at nowhere"),
        (("convert", "nowhere", "out", "--to", "voc"), "no data at nowhere"),
        (("convert", "data", "data", "--to", "voc"), "output folder data is in use"),
        (("convert", "data", "out", "--to", "tfrecord"), "invalid choice: 'tfrecord'"),
        (("convert", "data", "out", "--to", "voc", "--format", "yolo"), "no YOLO data set recognised in data"),
        (("check", "data", "--format", "voc"), "no VOC data set recognised in data"),
    ],
)
def test_mistakes_get_one_line(smca: Smca, data: Path, words: tuple[str, ...], error: str) -> None:
    assert data.name == "data"
    status, _, said = smca("data", *words)
    assert (status, said.count("\n")) == (2, 1)
    assert error in said
