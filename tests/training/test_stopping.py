"""Training ends early when AP no longer grows, and a run that ended so stays ended."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from smca.evaluation.coco import CocoEvaluator
from smca.training import launch
from smca.training.run_folder import RunFolder
from smca.training.stopping import has_waited
from tests.training.runs import small_request


@pytest.mark.parametrize(
    ("scores", "patience", "expected"),
    [
        ([0.1, 0.2, 0.2, 0.1], 2, True),
        ([0.1, 0.2, 0.2, 0.1], 3, False),
        ([0.1, 0.2, 0.1, 0.3], 2, False),
        ([0.3, 0.2, 0.1, 0.2], 3, True),
        ([0.0, 0.0, 0.0, 0.0], 2, False),
        ([0.1, 0.1], 0, False),
        ([0.1, 0.1], 2, False),
        ([], 1, False),
    ],
)
def test_when_it_has_waited(scores: list[float], patience: int, expected: bool) -> None:
    assert has_waited(scores, patience) is expected


def test_a_run_ends_early_and_is_not_resumed(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured, scores = CocoEvaluator.summary, iter([0.1, 0.3, 0.2, 0.3, 0.3])
    monkeypatch.setattr(CocoEvaluator, "summary", lambda self: {**measured(self), "AP": next(scores)})
    run = RunFolder(launch.train(small_request(scenes, tmp_path / "run", "patience=2", epochs=8)))
    assert [row["AP"] for row in run.metrics()] == [0.1, 0.3, 0.2, 0.3]
    assert "stopped early: no better AP in the last 2 epochs" in capsys.readouterr().out
    before = {path: path.read_bytes() for path in run.path.glob("*/model.safetensors")}
    launch.resume(run.path)
    assert "stopped early at epoch 4" in capsys.readouterr().out
    assert len(run.metrics()) == 4
    assert before == {path: path.read_bytes() for path in run.path.glob("*/model.safetensors")}
    shutil.rmtree(run.path / "checkpoints" / "checkpoint-8")
    launch.resume(run.path)
    assert "stopped early: no better AP in the last 2 epochs" in capsys.readouterr().out
    assert [row["AP"] for row in run.metrics()] == [0.1, 0.3, 0.2, 0.3]
