"""From names to files."""

from __future__ import annotations

import json
import signal
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from smca.data import images
from smca.errors import ConfigurationError, DataError, OutputError
from smca.inference import video
from smca.inference.command import VideoOptions, predict_files
from smca.inference.frames import Frame
from smca.inference.results import Results
from smca.inference.video import open_video
from tests.inference.videos import write_video


def entries_of(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "predictions.json").read_text())


def names_in(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir())


def frames_of(path: Path) -> int:
    with open_video(path.name, path) as opened:
        return sum(1 for _ in opened)


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the third picture is drawn."""
    add = Results.add

    def add_and_press(self: Results, frame: Frame, detections: Any) -> None:
        add(self, frame, detections)
        if self.images + self.frames == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Results, "add", add_and_press)


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


def test_videos_and_images_together(model_folder: Path, folder: Path, tmp_path: Path) -> None:
    """A folder of both: an entry a frame, a drawn video beside the drawn pictures."""
    write_video(folder / "b.mp4")
    write_video(folder / "sub" / "b.mkv", frames=5)
    out = tmp_path / "out"
    report = predict_files(model_folder, [folder], out, threshold=0, batch=3)
    assert (report.images, report.frames, report.unreadable, report.damaged) == (5, 13, (), ())
    entries = entries_of(out)
    clip = [entry for entry in entries if entry["image"] == str(folder / "b.mp4")]
    assert [entry["frame"] for entry in clip] == list(range(8))
    assert [entry["seconds"] for entry in clip] == pytest.approx([i / 10 for i in range(8)], abs=1e-3)
    assert all((entry["width"], entry["height"], len(entry["detections"])) == (64, 48, 36) for entry in clip)
    assert not any("frame" in entry for entry in entries if not entry["image"].endswith((".mp4", ".mkv")))
    names = ["a-2.jpg", "a.jpg", "b-2.jpg", "b-3.mp4", "b.mp4", "c.jpg", "d.jpg", "predictions.json"]
    assert names_in(out) == names
    assert frames_of(out / "b.mp4") == 8
    assert frames_of(out / "b-3.mp4") == 5


def test_a_frame_is_predicted_as_an_image_of_it(model_folder: Path, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", codec="mpeg4", frames=3, noise=40)
    with open_video("a", path) as opened:
        for moment, pixels in opened:
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / f"{moment.index}.png")
    predict_files(model_folder, [path, *(tmp_path / f"{i}.png" for i in range(3))], tmp_path / "out", threshold=0)
    entries = entries_of(tmp_path / "out")
    assert [entry["detections"] for entry in entries[:3]] == [entry["detections"] for entry in entries[3:]]


def test_no_more_frames_than_asked(model_folder: Path, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4")
    report = predict_files(model_folder, [path], tmp_path / "out", video=VideoOptions(most_frames=3))
    assert (report.frames, report.damaged) == (3, ())
    assert frames_of(tmp_path / "out" / "a.mp4") == 3


def test_damaged_and_unreadable_videos_are_listed(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = write_video(tmp_path / "cut.mkv", frames=20, noise=30)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (tmp_path / "bad.mp4").write_text("nothing")
    report = predict_files(model_folder, [cut, tmp_path / "bad.mp4"], tmp_path / "out")
    assert 5 < report.frames < 18
    assert len(report.damaged) == len(report.unreadable) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "1 of 2 sources skipped" in said
    assert f"{20 - report.frames} of 20 frames lost" in said
    with pytest.raises(DataError, match=r"bad\.mp4 cannot be read"):
        predict_files(model_folder, [tmp_path / "bad.mp4"], tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.usefixtures("interrupt")
def test_ctrl_c_keeps_what_was_seen(model_folder: Path, folder: Path, tmp_path: Path) -> None:
    """Images and a video under way: complete files of three, nothing temporary, and the interruption goes on."""
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        predict_files(model_folder, [folder], out)
    assert len(entries_of(out)) == 3
    assert names_in(out) == ["a.jpg", "b.jpg", "c.jpg", "predictions.json"]


@pytest.mark.usefixtures("interrupt")
def test_ctrl_c_in_a_video_leaves_one_that_plays(model_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        predict_files(model_folder, [write_video(tmp_path / "a.mp4")], out)
    assert len(entries_of(out)) == frames_of(out / "a.mp4") == 3
    assert names_in(out) == ["a.mp4", "predictions.json"]


@pytest.mark.usefixtures("interrupt")
def test_ctrl_c_ends_a_recording_well(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "camera_location", lambda number: (f"testsrc=size=64x{48 + number}", "lavfi", {}))
    out = tmp_path / "out"
    report = predict_files(model_folder, ["webcam:2"], out)
    assert (report.frames, report.images) == (3, 0)
    assert [(entry["image"], entry["frame"], entry["height"]) for entry in entries_of(out)] == [
        ("webcam:2", i, 50) for i in range(3)
    ]
    assert frames_of(out / "webcam-2.mp4") == 3


def test_ctrl_c_between_tiles_gives_the_image_up(
    model_folder: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smca.inference.predict.predict_tiled", lambda *given: signal.raise_signal(2) or given[4](1, 9))
    with pytest.raises(KeyboardInterrupt):
        predict_files(model_folder, [folder], tmp_path / "out", tile=True)
    assert names_in(tmp_path / "out") == ["predictions.json"]
    assert entries_of(tmp_path / "out") == []


def test_no_camera_is_one_line_and_it_is_named_alone(model_folder: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^no webcam:97 here: [^\n]+$"):
        predict_files(model_folder, ["webcam:97"], tmp_path / "out")
    with pytest.raises(DataError, match="webcam is recorded until Ctrl-C; name it alone"):
        predict_files(model_folder, ["webcam", folder], tmp_path / "out")


def test_a_source_video_is_never_replaced(model_folder: Path, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4")
    before = path.read_bytes()
    with pytest.raises(OutputError, match=r"would replace .*a\.mp4"):
        predict_files(model_folder, [path], tmp_path)
    assert path.read_bytes() == before


def test_tracking_still_images_is_refused(model_folder: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--track .* only still images"):
        predict_files(model_folder, [folder], tmp_path / "out", video=VideoOptions(track=True))


def test_tracks_are_written(model_folder: Path, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("trackers")
    path = write_video(tmp_path / "a.mp4")
    predict_files(
        model_folder, [path, folder / "b.png"], tmp_path / "out", threshold=0.06, video=VideoOptions(track=True)
    )
    *clip, image = entries_of(tmp_path / "out")
    tracks = [[found["track"] for found in entry["detections"]] for entry in clip]
    assert any(track is not None for track in tracks[-1])
    assert all(len(numbers) == len(set(numbers)) for numbers in ([n for n in row if n is not None] for row in tracks))
    assert not any("track" in found for found in image["detections"])


def test_tiles_of_an_image_larger_than_the_model(model_folder: Path, tmp_path: Path) -> None:
    Image.effect_noise((100, 64), 80).save(tmp_path / "wide.png")
    plain = predict_files(model_folder, [tmp_path / "wide.png"], tmp_path / "plain", threshold=0)
    tiled = predict_files(model_folder, [tmp_path / "wide.png"], tmp_path / "tiled", threshold=0, tile=64)
    assert (plain.full, tiled.full) == (0, 0)
    few, many = (len(entries_of(tmp_path / name)[0]["detections"]) for name in ("plain", "tiled"))
    assert few < many


def test_as_many_objects_as_queries_are_said(
    model_folder: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = predict_files(model_folder, [folder / "b.png"], tmp_path / "out", threshold=1e-9)
    assert report.full == 1
    assert "as many objects as the model has queries" in " ".join(capsys.readouterr().out.split())


def enormous(path: Path) -> None:
    """A PNG that claims 20000 x 20000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (20000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


def test_extreme_and_foreign_pictures(model_folder: Path, tmp_path: Path) -> None:
    """The longest and thinnest are read; a bomb, and a photo of a phone that Pillow cannot read, are listed."""
    place = tmp_path / "images"
    place.mkdir()
    Image.new("L", (5000, 20)).save(place / "a.png")
    Image.new("CMYK", (30, 20)).save(place / "b.jpg")
    first, *others = (Image.new("P", (20, 20), i) for i in range(3))
    first.save(place / "c.gif", save_all=True, append_images=others)
    Image.new("L", (66_000, 2)).save(place / "d.png")
    enormous(place / "e.png")
    (place / "f.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    report = predict_files(model_folder, [place], tmp_path / "out")
    bomb, photo = report.unreadable
    assert report.images == 4
    assert "e.png" in bomb
    assert "400000000 pixels" in bomb
    assert str(2 * (images.Image.MAX_IMAGE_PIXELS or 0)) in bomb
    assert "f.HEIC cannot be read" in photo
    assert Image.open(tmp_path / "out" / "a.jpg").size == (5000, 20)
    assert Image.open(tmp_path / "out" / "d.jpg").size == (65_500, 2)
