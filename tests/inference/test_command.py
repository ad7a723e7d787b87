"""From names to files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from smca.errors import DataError, OutputError
from smca.inference.command import predict_files


def test_writes_predictions_and_pictures(model_folder: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = predict_files(model_folder, [folder], out, threshold=0, batch=2, device="cpu")
    entries = json.loads((out / "predictions.json").read_text())
    assert (report.predictions, report.images, report.unreadable) == (out / "predictions.json", 5, ())
    assert [entry["image"] for entry in entries] == [
        str(folder / name) for name in ("a.JPG", "b.png", "c.bmp", "sub/a.png", "sub/d.webp")
    ]
    assert sorted(path.name for path in out.glob("*.jpg")) == ["a-2.jpg", "a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    for entry, drawn in zip(entries, ("a", "b", "c", "a-2", "d"), strict=True):
        with Image.open(entry["image"]) as image, Image.open(out / f"{drawn}.jpg") as picture:
            assert (entry["width"], entry["height"]) == image.size == picture.size
        assert len(entry["detections"]) == 36
        assert set(entry["detections"][0]) == {"label", "score", "box"}


def test_unreadable_images_are_skipped_and_listed(
    model_folder: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:60])
    (folder / "c.bmp").write_text("nothing")
    report = predict_files(model_folder, [folder], tmp_path / "out", batch=2)
    assert report.images == 3
    assert [reason.split(":")[0].split()[1].rsplit("/")[-1] for reason in report.unreadable] == [
        "b.png",
        "c.bmp",
    ]
    assert "2 of 5 images skipped" in capsys.readouterr().out


def test_nothing_readable_is_an_error_and_writes_nothing(model_folder: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "c.bmp").write_text("nothing")
    with pytest.raises(DataError, match=r"(notes.txt|c.bmp).*nor any of the other 1"):
        predict_files(model_folder, [folder / "notes.txt", folder / "c.bmp"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_originals_are_never_replaced(model_folder: Path, tmp_path: Path) -> None:
    original = tmp_path / "photo.jpg"
    Image.new("RGB", (20, 20)).save(original)
    before = original.read_bytes()
    with pytest.raises(OutputError, match=r"photo\.jpg"):
        predict_files(model_folder, [original], tmp_path)
    assert original.read_bytes() == before


def test_again_into_the_same_folder(model_folder: Path, folder: Path, tmp_path: Path) -> None:
    first, second = (predict_files(model_folder, [folder / "b.png"], tmp_path / "out") for _ in range(2))
    assert first == second
