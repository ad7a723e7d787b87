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
from smca.training.recorder import Recorder
from smca.training.request import TrainRequest
from smca.training.run_folder import RunFolder
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


def test_a_half_written_checkpoint_and_what_followed_it_do_not_count(scenes: Path, tmp_path: Path) -> None:
    launch.train(small_request(scenes, tmp_path / "whole", epochs=4))
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    (tmp_path / "parts" / "checkpoints" / f"checkpoint-{4 * STEPS}" / "trainer_state.json").unlink()
    launch.resume(tmp_path / "parts")
    assert_same(tmp_path / "whole", tmp_path / "parts")


def test_a_finished_run_stays_as_it_is(scenes: Path, tmp_path: Path) -> None:
    launch.train(small_request(scenes, tmp_path / "run"))
    before = {path: path.read_bytes() for path in (tmp_path / "run").glob("[bl]*st/*")}
    metrics = (tmp_path / "run" / "metrics.jsonl").read_text()
    launch.resume(tmp_path / "run")
    assert before
    assert {path: path.read_bytes() for path in before} == before
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == metrics


def test_a_run_without_a_checkpoint_starts_over(
    scenes: Path, tmp_path: Path, killed: Callable[[TrainRequest, int], None]
) -> None:
    launch.train(small_request(scenes, tmp_path / "whole", epochs=4))
    killed(small_request(scenes, tmp_path / "parts", epochs=4), 1)
    assert rows(tmp_path / "parts") == []
    launch.resume(tmp_path / "parts")
    assert_same(tmp_path / "whole", tmp_path / "parts")


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
