"""What lies in a run's folder, and what a write that fails leaves there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from smca.errors import OutputError
from smca.inference.loading import load
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.image_processing import SmcaImageProcessor
from smca.training.request import TrainRequest
from smca.training.run_folder import RunFolder
from tests.modeling.tiny import small_config


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.fixture
def model() -> SmcaForObjectDetection:
    return SmcaForObjectDetection(small_config())


def first_bias(folder: Path) -> float:
    return float(load_file(folder / "model.safetensors")["class_head.bias"][0])


def set_bias(model: SmcaForObjectDetection, value: float) -> None:
    with torch.no_grad():
        model.class_head.bias.fill_(value)


def test_a_request_comes_back_as_it_was(folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    request = TrainRequest(
        Path("data"), "smca-tiny", out=Path("runs/x"), lr=0.1, freeze=("backbone",), overrides=("a=1", "b=2"), seed=3
    )
    folder.write_request(request, "name: x\n")
    again = folder.read_request()
    assert again.data == tmp_path / "data"
    assert again.to_json() == request.to_json()
    assert (again.freeze, again.overrides, again.out) == (request.freeze, request.overrides, request.out)
    assert (folder.path / "recipe.yaml").read_text() == "name: x\n"


def test_a_folder_without_a_request_is_no_run(folder: RunFolder) -> None:
    with pytest.raises(OutputError, match=r"is not a run: it has no run\.json"):
        folder.read_request()


def test_rows_of_a_later_or_the_same_epoch_are_dropped(folder: RunFolder) -> None:
    for epoch, loss in ((1, 9.0), (2, 8.0), (3, 7.0), (2, 6.0)):
        folder.write_metrics({"epoch": epoch, "loss": loss})
    assert folder.metrics() == [{"epoch": 1, "loss": 9.0}, {"epoch": 2, "loss": 6.0}]
    lines = (folder.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == folder.metrics()


def test_no_metrics_before_the_first_epoch(folder: RunFolder) -> None:
    assert folder.metrics() == []


def test_going_back_to_a_checkpoint_forgets_later_epochs_and_finds_a_model_that_was_moved_aside(
    folder: RunFolder, model: SmcaForObjectDetection
) -> None:
    folder.write_model("best", model, SmcaImageProcessor())
    for epoch in (1, 2):
        folder.write_metrics({"epoch": epoch})
        (folder.checkpoints.draft / f"checkpoint-{epoch}").mkdir(parents=True)
        folder.keep_checkpoint(epoch)
    folder.write_metrics({"epoch": 3})
    (folder.path / "best").rename(folder.path / ".best.old")
    (folder.path / ".best.new").mkdir()
    newest, _ = folder.checkpoints.newest()
    assert newest
    folder.go_back_to(newest)
    assert folder.metrics() == folder.metrics(newest) == [{"epoch": 1}, {"epoch": 2}]
    load(folder.path / "best")
    folder.write_model("best", model, SmcaImageProcessor())
    assert sorted(path.name for path in folder.path.iterdir()) == ["best", "checkpoints", "metrics.jsonl"]


def test_a_model_moved_aside_is_kept_when_the_next_write_fails(
    folder: RunFolder, model: SmcaForObjectDetection, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write_model("best", model, SmcaImageProcessor())
    (folder.path / "best").rename(folder.path / ".best.old")

    def full(*_: object, **__: object) -> None:
        raise RuntimeError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(SmcaForObjectDetection, "save_pretrained", full)
    with pytest.raises(RuntimeError, match="No space"):
        folder.write_model("best", model, SmcaImageProcessor())
    assert [path.name for path in folder.path.iterdir()] == ["best"]


def test_a_model_takes_the_place_of_the_one_before(folder: RunFolder, model: SmcaForObjectDetection) -> None:
    for value in (1.0, 2.0):
        set_bias(model, value)
        folder.write_model("best", model, SmcaImageProcessor())
        assert first_bias(folder.path / "best") == value
    assert [path.name for path in folder.path.iterdir()] == ["best"]
    assert torch.equal(load(folder.path / "best").get_parameter("class_head.bias"), model.class_head.bias)


@pytest.mark.parametrize("failing", ["weights", "processor", "swap"])
def test_a_failing_write_leaves_the_old_model(
    failing: str, folder: RunFolder, model: SmcaForObjectDetection, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_bias(model, 1.0)
    folder.write_model("best", model, SmcaImageProcessor())
    set_bias(model, 2.0)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    rename = Path.rename
    with monkeypatch.context() as broken:
        if failing == "weights":
            broken.setattr(SmcaForObjectDetection, "save_pretrained", full)
        elif failing == "processor":
            broken.setattr(SmcaImageProcessor, "save_pretrained", full)
        else:
            broken.setattr(Path, "rename", lambda a, b: full() if a.name.endswith(".new") else rename(a, b))
        with pytest.raises(OutputError, match=r"cannot write the model .*best: No space left"):
            folder.write_model("best", model, SmcaImageProcessor())
    assert first_bias(folder.path / "best") == 1.0
    folder.write_model("best", model, SmcaImageProcessor())
    assert first_bias(folder.path / "best") == 2.0
    assert [path.name for path in folder.path.iterdir()] == ["best"]
