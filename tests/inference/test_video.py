"""Videos in, a frame at a time, and drawn videos out."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from smca.errors import DataError, OutputError
from smca.inference import video
from smca.inference.video import Moment, VideoFile, open_camera, open_video
from tests.inference.videos import grey, write_video


def read(path: Path) -> tuple[list[Moment], list[Tensor], str | None]:
    with open_video(path.name, path) as opened:
        frames = list(opened)
        return [moment for moment, _ in frames], [pixels for _, pixels in frames], opened.lost


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mov", "mpeg4"),
        ("a.mkv", "libx264"),
        ("a.avi", "mpeg4"),
        ("a.webm", "libvpx-vp9"),
        ("a.mpg", "mpeg2video"),
    ],
)
def test_every_frame_comes_in_order_at_its_time(tmp_path: Path, name: str, codec: str) -> None:
    rate = 25 if codec == "mpeg2video" else 10
    moments, frames, lost = read(write_video(tmp_path / name, codec=codec, rate=rate))
    assert [moment.index for moment in moments] == list(range(8))
    assert [moment.seconds for moment in moments] == pytest.approx([i / rate for i in range(8)], abs=0.002)
    assert [float(frame[:, -8:, -8:].float().mean()) for frame in frames] == pytest.approx(
        [grey(i) for i in range(8)], abs=5
    )
    assert all(frame.shape == (3, 48, 64) for frame in frames)
    assert lost is None


def test_a_varying_rate_keeps_its_times_in_and_out(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.5, 0.52, 2.0]
    moments, frames, lost = read(write_video(tmp_path / "a.mkv", frames=5, times=times))
    assert [moment.seconds for moment in moments] == pytest.approx(times, abs=0.002)
    assert lost is None
    with VideoFile(tmp_path / "b.mp4", Fraction(10)) as file:
        for moment, pixels in zip(moments, frames, strict=True):
            file.add(Image.fromarray(pixels.permute(1, 2, 0).numpy()), moment.seconds)
    again, _, lost = read(tmp_path / "b.mp4")
    assert [moment.seconds for moment in again] == pytest.approx(times, abs=0.002)
    assert lost is None


@pytest.mark.parametrize(("rotation", "corner"), [(90, (-1, 0)), (-90, (0, -1)), (180, (-1, -1))])
def test_a_phone_held_upright_gives_upright_frames(tmp_path: Path, rotation: int, corner: tuple[int, int]) -> None:
    """The angle is counter-clockwise, as FFmpeg tells it; the red corner was at the top left of what is stored."""
    _, frames, _ = read(write_video(tmp_path / "a.mp4", frames=1, rotation=rotation))
    assert frames[0].shape[1:] == ((48, 64) if rotation == 180 else (64, 48))
    red, green, _ = frames[0][:, corner[0], corner[1]].tolist()
    assert red > 200 > 100 > green


def test_a_video_cut_off_gives_what_is_there_and_counts_the_rest(tmp_path: Path) -> None:
    for name, faststart in (("a.mp4", True), ("b.mkv", False)):
        path = write_video(tmp_path / name, frames=40, faststart=faststart, noise=30)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
        moments, _, lost = read(path)
        assert 10 < len(moments) < 35
        assert lost is not None
        assert lost.startswith(f"video {name}: {40 - len(moments)} of 40 frames lost")


def test_damage_in_the_middle_loses_only_frames_there(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=40, noise=30)
    content = bytearray(path.read_bytes())
    start = len(content) // 2
    content[start : start + 4000] = np.random.default_rng(0).integers(0, 256, 4000, dtype=np.uint8).tobytes()
    path.write_bytes(content)
    moments, _, lost = read(path)
    assert 25 < len(moments) < 40
    assert moments[-1].seconds == pytest.approx(3.9)
    assert lost is not None
    assert "frames lost" in lost


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("hello" * 100)
    (tmp_path / "empty.mp4").touch()
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    path = write_video(tmp_path / "cut.mp4")
    path.write_bytes(path.read_bytes()[:500])
    for name in ("text.mp4", "empty.mp4", "sound.mp4", "cut.mp4", "missing.mp4"):
        with pytest.raises(DataError, match=rf"^video {name} cannot be read: [^\n]+$"):
            read(tmp_path / name)


@pytest.mark.parametrize("codec", video.CODECS)
def test_odd_sizes_are_made_even_and_other_sizes_are_fitted(
    tmp_path: Path, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "CODECS", {codec: video.CODECS[codec]})
    with VideoFile(tmp_path / "out" / "a.mp4", Fraction(30000, 1001)) as file:
        for index, size in enumerate(((51, 33), (51, 33), (20, 70))):
            file.add(Image.new("RGB", size, "green"), index / 30)
    moments, frames, _ = read(tmp_path / "out" / "a.mp4")
    assert len(moments) == 3
    assert all(frame.shape == (3, 34, 52) for frame in frames)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.mp4"]


def test_times_that_stand_still_are_moved_on(tmp_path: Path) -> None:
    with VideoFile(tmp_path / "a.mp4", Fraction(10)) as file:
        for seconds in (0.0, 0.0, 0.5, 0.4):
            file.add(Image.new("RGB", (32, 32)), seconds)
    moments, _, _ = read(tmp_path / "a.mp4")
    assert len(moments) == 4


def test_nothing_is_left_of_a_video_that_fails(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("before")

    def fail() -> None:
        with VideoFile(tmp_path / "a.mp4", Fraction(10)) as file:
            file.add(Image.new("RGB", (32, 32)), 0.0)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_text() == "before"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write .*a\.mp4"):
        VideoFile(tmp_path / "file" / "a.mp4", Fraction(10))


def test_no_camera_is_one_line() -> None:
    with pytest.raises(DataError, match=r"^no webcam:97 here: [^\n]+$"), open_camera("webcam:97", 97):
        pass


def test_a_camera_is_read_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that never ends."""
    monkeypatch.setattr(video, "camera_location", lambda _: ("testsrc=size=64x48:rate=20", "lavfi", {}))
    with open_camera("webcam", 0) as camera:
        seen = [moment for moment, _ in islice(camera, 3)]
        assert camera.expected is None
        assert camera.lost is None
    assert [moment.index for moment in seen] == [0, 1, 2]
    assert [moment.seconds for moment in seen] == pytest.approx([0.0, 0.05, 0.1])
