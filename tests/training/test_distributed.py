"""Several processes learn and measure what one does, go on where it stopped, and end when one of them does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

import smca
from smca.data.scenes import make_scenes
from smca.errors import ConfigurationError
from smca.sizes import ImageSize
from smca.training import launch
from smca.training.recorder import Recorder
from smca.training.request import TrainRequest
from smca.training.run_folder import RunFolder
from tests.training.processes import in_processes
from tests.training.runs import small_request
from tests.training.test_trainer import small_trainer

ROOT = Path(__file__).parents[2]
LEARNS = ("dropout=0", "lr=1e-3", "jitter=0.2")


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """13 images to train on, five of them without an object, so that a batch of 4 leaves one; 3 held back."""
    folder = tmp_path_factory.mktemp("data") / "scenes"
    make_scenes(folder, images=17, seed=0, size=ImageSize(height=64, width=64))
    keep(folder, "train", range(1, 14), empty=range(1, 6))
    keep(folder, "val", range(1, 4))
    return folder


def keep(folder: Path, split: str, images: range, empty: range = range(0)) -> None:
    """Leave these images, by their place in the file from 1, in a split; some without objects."""
    content = json.loads((folder / f"{split}.json").read_text())
    content["images"] = [content["images"][i - 1] for i in images]
    left = {image["id"] for i, image in zip(images, content["images"], strict=True) if i not in empty}
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] in left]
    (folder / f"{split}.json").write_text(json.dumps(content))


@pytest.fixture
def double() -> Iterator[None]:
    """Float64, in which nothing is equal by chance, and rounding is far below what is asked."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def rows(run: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in RunFolder(run).metrics()]


def assert_alike(one: Path, other: Path, tolerance: float) -> None:
    """The same epochs and numbers, and the same last weights."""
    for first, second in zip(rows(one), rows(other), strict=True):
        known = {key: value for key, value in first.items() if isinstance(value, float)}
        assert known == pytest.approx({key: second[key] for key in known}, rel=tolerance, abs=tolerance)
        assert first["step"] == second["step"]
    weights = [load_file(run / "last" / "model.safetensors") for run in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    assert max(float((value - weights[1][name]).abs().max()) for name, value in weights[0].items()) < tolerance


def killed(request: TrainRequest, after: int, rank: int, by: int) -> None:
    """Train until an update, and there end this rank by a signal, or by an exception where the signal is 0."""
    follow = Recorder.on_step_end

    def stop(self: Recorder, args: Any, state: Any, control: Any, **options: Any) -> None:
        follow(self, args, state, control, **options)
        if state.global_step == after and int(os.environ.get("RANK", "0")) == rank:
            if by:
                os.kill(os.getpid(), by)
            raise RuntimeError("as if it were a defect")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Recorder, "on_step_end", stop)
        launch.train(request) if request.out and not request.out.exists() else launch.resume(Path(str(request.out)))


@pytest.mark.usefixtures("double")
def test_two_processes_learn_what_one_does(uneven: Path, tmp_path: Path) -> None:
    """Also where the last update has an image for one of them only, some have no box, and several steps add up."""
    launch.train(small_request(uneven, tmp_path / "one", *LEARNS))
    assert [row["step"] for row in rows(tmp_path / "one")] == [4, 8]
    for name, micro in (("two", 2), ("adding", 1)):
        in_processes(2, launch.train, small_request(uneven, tmp_path / name, *LEARNS, f"micro_batch={micro}"))
        assert_alike(tmp_path / "one", tmp_path / name, 1e-9)


@pytest.mark.usefixtures("double")
def test_a_sharded_model_learns_the_same_and_is_saved_whole(uneven: Path, tmp_path: Path) -> None:
    launch.train(small_request(uneven, tmp_path / "one", *LEARNS))
    request = small_request(uneven, tmp_path / "sharded", *LEARNS, fsdp=True)
    with pytest.raises(ChildFailedError):
        in_processes(2, killed, request, 6, 1, 0)
    assert [row["epoch"] for row in rows(tmp_path / "sharded")] == [1]
    in_processes(2, launch.resume, tmp_path / "sharded")
    assert_alike(tmp_path / "one", tmp_path / "sharded", 1e-9)
    found = [
        smca.load(tmp_path / name / "best").predict(sorted(uneven.rglob("val*.jpg"))) for name in ("one", "sharded")
    ]
    for one, other in zip(*found, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-6)
        assert one.boxes == pytest.approx(other.boxes, abs=1e-4)


@pytest.mark.usefixtures("double")
def test_from_two_processes_to_one_and_back(uneven: Path, tmp_path: Path) -> None:
    """Dropout draws the same for the same images; a process ends by an exception, then by SIGKILL."""
    request = small_request(uneven, tmp_path / "parts", *LEARNS[1:], "dropout=0.1", "micro_batch=1", epochs=3)
    launch.train(launch.dataclasses.replace(request, out=tmp_path / "whole"))
    with pytest.raises(ChildFailedError) as failed:
        in_processes(2, killed, request, 5, 0, 0)
    assert failed.value.get_first_failure()[0] == 0
    with pytest.raises(RuntimeError, match="as if"):
        killed(request, 9, 0, 0)
    with pytest.raises(ChildFailedError, match="SIGKILL"):
        in_processes(2, killed, request, 10, 1, signal.SIGKILL)
    in_processes(2, launch.resume, tmp_path / "parts")
    assert [row["epoch"] for row in rows(tmp_path / "parts")] == [1, 2, 3]
    assert_alike(tmp_path / "whole", tmp_path / "parts", 1e-9)


def evaluated(data: Path, out: Path) -> dict[str, Any]:
    return small_trainer(data, out).evaluate()


@pytest.mark.parametrize("images", [1, 3])
def test_every_image_is_judged_once(images: int, tmp_path: Path) -> None:
    """Fewer images than processes, and a number that they cannot share."""
    data = make_scenes(tmp_path / "scenes", images=12, seed=1, size=ImageSize(height=64, width=64))
    keep(data, "val", range(1, images + 1))
    alone = evaluated(data, tmp_path / "alone")
    for found in in_processes(2, evaluated, data, tmp_path / "together").values():
        assert found == pytest.approx(alone, abs=1e-6)


@pytest.mark.parametrize(
    ("message", "processes", "override"),
    [("several processes, and this is one", "1", "lr=1e-3"), ("averaging=0", "2", "averaging=0.9")],
)
def test_what_cannot_be_sharded(
    message: str, processes: str, override: str, uneven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", processes)
    with pytest.raises(ConfigurationError, match=message):
        launch.train(small_request(uneven, tmp_path / "run", override, fsdp=True))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_torchrun_prints_and_writes_once(uneven: Path, tmp_path: Path) -> None:
    overrides = small_request(uneven, tmp_path).overrides
    words = ["-m", "smca", "train", str(uneven), "--recipe", "smca-tiny", "--out", "run", "--device", "cpu"]
    options = ["--epochs=2", "--batch=4", "--image-size=64", "--workers=0", "--precision=fp32", "--set"]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launcher, *words, *options, *overrides],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [row["epoch"] for row in rows(tmp_path / "run")] == [1, 2]
    lines = [line for line in done.stdout.splitlines() if "done in" not in line]
    assert len(lines) == len(set(lines))
    assert done.stdout.count("epoch   1 ") == 1
    assert "an update: 4 images = 2 processes x 1 steps x 2 images" in lines
    assert lines[-1] == "run"
