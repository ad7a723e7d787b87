"""A run that stopped and went on ends as one that never stopped."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from smca.errors import DataError, OutputError
from smca.training import launch
from smca.training.checkpoints import flaw_of
from smca.training.recorder import Recorder
from smca.training.request import TrainRequest
from smca.training.run_folder import RunFolder
from tests.held import held
from tests.training.runs import small_request

STEPS = 2  # updates an epoch


class KilledError(Exception):
    """Stands for a process that ends without warning."""


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Callable[[TrainRequest, int], None]:
    """Train until an update, and stop there."""

    def run(request: TrainRequest, after: int) -> None:
        follow = Recorder.on_step_end

        def stop(self: Recorder, args: Any, state: Any, control: Any, **options: Any) -> None:
            follow(self, args, state, control, **options)
            if state.global_step == after:
                raise KilledError

        with monkeypatch.context() as patched:
            patched.setattr(Recorder, "on_step_end", stop)
            with pytest.raises(KilledError):
                launch.train(request)

    return run


def rows(run: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in RunFolder(run).metrics()]


def same_model(one: Path, other: Path) -> bool:
    first, second = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    texts = [(folder / "config.json").read_text() for folder in (one, other)]
    return texts[0] == texts[1] and all(torch.equal(value, second[key]) for key, value in first.items())


def assert_same(one: Path, other: Path) -> None:
    assert rows(one) == rows(other)
    assert [row["epoch"] for row in rows(one)] == [1, 2, 3, 4]
    assert same_model(one / "last", other / "last")
    assert same_model(one / "best", other / "best")


@pytest.mark.parametrize(
    ("workers", "overrides", "after"),
    [
        (0, ("dropout=0.1",), 2 * STEPS + 1),
        pytest.param(2, ("dropout=0.1",), 2 * STEPS + 1, marks=pytest.mark.slow),
        (0, ("crop_epochs=1", "backbone_norm=batch", "micro_batch=2"), 3 * STEPS),
    ],
    ids=["in a third epoch", "with workers", "after a warm-up, accumulating, before an evaluation"],
)
def test_a_run_that_was_killed_ends_as_one_that_was_not(
    workers: int,
    overrides: tuple[str, ...],
    after: int,
    scenes: Path,
    tmp_path: Path,
    killed: Callable[[TrainRequest, int], None],
) -> None:
    torch.manual_seed(1)
    launch.train(small_request(scenes, tmp_path / "whole", *overrides, epochs=4, workers=workers))
    torch.manual_seed(2)
    killed(small_request(scenes, tmp_path / "parts", *overrides, epochs=4, workers=workers), after)
    assert [row["epoch"] for row in rows(tmp_path / "parts")] == [1, 2]
    torch.manual_seed(3)
    assert launch.resume(tmp_path / "parts") == tmp_path / "parts"
    assert_same(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
def test_the_same_whatever_the_number_of_workers(scenes: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        launch.train(small_request(scenes, tmp_path / str(workers), "dropout=0.1", workers=workers))
    assert rows(tmp_path / "0") == rows(tmp_path / "2")
    assert same_model(tmp_path / "0" / "last", tmp_path / "2" / "last")


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.fixture(scope="module")
def whole(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four epochs that nothing disturbed."""
    return launch.train(small_request(scenes, tmp_path_factory.mktemp("runs") / "whole", epochs=4))


def test_a_damaged_checkpoint_and_what_followed_the_one_before_do_not_count(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole, tmp_path / "parts")
    damaged = tmp_path / "parts" / "checkpoints" / f"checkpoint-{4 * STEPS}"
    flip(damaged / "optimizer.pt")
    launch.resume(tmp_path / "parts")
    assert f"{damaged} is damaged (optimizer.pt has changed) and passed over\n" in capsys.readouterr().out
    assert_same(whole, tmp_path / "parts")
    assert flaw_of(damaged) == ""


def test_without_a_whole_checkpoint_nothing_is_touched(whole: Path, tmp_path: Path) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    for file in run.glob("checkpoints/*/scheduler.pt"):
        flip(file)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(OutputError, match=r"scheduler.pt has changed.*smca train --init .*last"):
        launch.resume(run)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(OutputError, match=r"run has lost its checkpoints.*smca train --init .*last"):
        launch.resume(run)
    assert len(rows(run)) == 4


def test_a_run_that_another_process_trains_is_left_alone(whole: Path, tmp_path: Path) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    with held(run), pytest.raises(OutputError, match=f"another training writes into {run} now"):
        launch.resume(run)
    shutil.rmtree(run / "checkpoints")
    (run / "metrics.jsonl").write_text("")
    with held(run), pytest.raises(OutputError, match="another training"):
        launch.resume(run)
    assert (run / "last").is_dir()


def test_a_finished_run_stays_as_it_is(whole: Path) -> None:
    files = [*whole.glob("[bl]*st/*"), *whole.glob("checkpoints/**/*.*"), whole / "metrics.jsonl"]
    before = {path: path.read_bytes() for path in files}
    launch.resume(whole)
    assert len(before) > 20
    assert {path: path.read_bytes() for path in before} == before
    assert sorted(path.name for path in (whole / "checkpoints").iterdir()) == ["checkpoint-6", "checkpoint-8"]


def test_a_run_without_a_checkpoint_starts_over(
    whole: Path, scenes: Path, tmp_path: Path, killed: Callable[[TrainRequest, int], None]
) -> None:
    run = tmp_path / "parts"
    killed(small_request(scenes, run, epochs=4), 1)
    assert rows(run) == []
    (run / "checkpoints" / ".new" / "checkpoint-2").mkdir(parents=True)
    (run / "last").mkdir()
    launch.resume(run)
    assert_same(whole, run)
    assert not (run / "checkpoints" / ".new").exists()


def test_a_run_that_cannot_start_over_can_still_be_resumed_later(
    scenes: Path, tmp_path: Path, killed: Callable[[TrainRequest, int], None]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    killed(small_request(data, tmp_path / "run"), 1)
    data.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="no data at"):
        launch.resume(tmp_path / "run")
    (tmp_path / "elsewhere").rename(data)
    launch.resume(tmp_path / "run")
    assert [row["epoch"] for row in rows(tmp_path / "run")] == [1, 2]


def test_a_run_keeps_what_was_frozen_and_its_recipe_file_is_not_needed(
    scenes: Path, tmp_path: Path, killed: Callable[[TrainRequest, int], None]
) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(launch.resolved_yaml(small_request(scenes, tmp_path)))
    request = TrainRequest(scenes, str(recipe), out=tmp_path / "run", freeze=("backbone",), workers=0, device="cpu")
    for after in (1, 3):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        recipe.write_text(launch.resolved_yaml(small_request(scenes, tmp_path)))
        killed(request, after)
        recipe.unlink()
        launch.resume(tmp_path / "run")
        assert [row["epoch"] for row in rows(tmp_path / "run")] == [1, 2]
    first = load_file(tmp_path / "run" / "checkpoints" / f"checkpoint-{STEPS}" / "model.safetensors")
    last = load_file(tmp_path / "run" / "last" / "model.safetensors")
    same = {name for name, value in first.items() if torch.equal(value, last[name])}
    assert {name for name in first if name.startswith("backbone.")} <= same
    assert "class_head.weight" not in same


@pytest.mark.parametrize("content", [None, {}, {"metrics.jsonl": ""}])
def test_what_is_no_run_is_refused_and_left_alone(content: dict[str, str] | None, tmp_path: Path) -> None:
    run = tmp_path / "run"
    if content is not None:
        run.mkdir()
        for name, text in content.items():
            (run / name).write_text(text)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match="is not a run"):
        launch.resume(run)
    assert sorted(tmp_path.rglob("*")) == before
