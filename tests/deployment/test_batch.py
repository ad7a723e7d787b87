"""Batches on Ray with two workers, from the source to the Parquet."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from smca.deployment.batch import command
from smca.deployment.batch.command import BatchReport, BatchRequest, predict_everything
from smca.deployment.batch.session import session
from smca.inference.command import predict_files
from tests.deployment.in_process import in_process
from tests.deployment.poisoned import PoisonedWorker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning:ray"),
]
ROOT = Path(__file__).parents[2]
MakeTree = Callable[[Path, int], Path]


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    """One Ray with two workers for all tests; a batch uses what runs in its process."""
    with session(None, 2, "cpu"):
        yield


def predicted(model: Path, source: Path, out: Path, **options: Any) -> BatchReport:
    return predict_everything(BatchRequest(model, str(source), out, workers=2, device="cpu", **options), print)


def rows(out: Path) -> list[dict[str, Any]]:
    return pq.read_table(out).to_pylist()


def test_a_row_for_each_image_as_predict_says_it(model_folder: Path, make_tree: MakeTree, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", 40)
    report = predicted(model_folder, tree, tmp_path / "out", threshold=0.1)
    predict_files(model_folder, [tree], tmp_path / "predict", threshold=0.1, device="cpu")
    expected = {entry["image"]: entry for entry in json.loads((tmp_path / "predict" / "predictions.json").read_text())}
    found = rows(tmp_path / "out")
    assert [row["image"] for row in found] == sorted((row["image"] for row in found), key=lambda name: Path(name).parts)
    assert {row["image"] for row in found if row["error"]} == {str(tree / "empty.jpg"), str(tree / "sub" / "torn.png")}
    assert (report.images, report.bad, report.workers, len(expected)) == (42, 2, 2, 40)
    for row in found:
        if row["error"]:
            assert [row[name] for name in ("width", "height", "labels", "scores", "boxes")] == [None] * 5
            continue
        entry = expected[row["image"]]
        assert (row["width"], row["height"]) == (entry["width"], entry["height"])
        assert row["labels"] == [one["label"] for one in entry["detections"]]
        assert row["scores"] == pytest.approx([one["score"] for one in entry["detections"]], abs=1e-5)
        boxes = zip(row["boxes"], entry["detections"], strict=True)
        assert all(box == pytest.approx(one["box"], abs=1e-3) for box, one in boxes)
    assert report.detections == sum(len(entry["detections"]) for entry in expected.values()) > 0


def test_an_image_that_kills_its_worker_is_noted_and_the_rest_is_predicted(
    model_folder: Path, make_tree: MakeTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = make_tree(tmp_path / "tree", 30)
    (tree / "0003.png").rename(tree / "deadly.png")
    (tree / "0006.png").rename(tree / "raising.png")
    monkeypatch.setattr(command, "Worker", PoisonedWorker)
    predicted(model_folder, tree, tmp_path / "out", shard=8)
    errors = {Path(row["image"]).name: row["error"] for row in rows(tmp_path / "out") if row["error"]}
    assert errors.keys() == {"empty.jpg", "torn.png", "deadly.png", "raising.png"}
    assert errors["deadly.png"] == "killed its worker (a crash, or out of memory)"
    assert errors["raising.png"] == "RuntimeError: no such kernel"
    assert len(rows(tmp_path / "out")) == 32
    assert not (tmp_path / "out" / "_attempts").exists()


def test_killed_in_the_middle_it_ends_as_one_that_was_not(
    model_folder: Path, make_tree: MakeTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = make_tree(tmp_path / "tree", 600)
    out = tmp_path / "killed"
    words = [sys.executable, "-m", "smca", "batch", str(model_folder), str(tree), str(out), "--shard=4", "--workers=1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, env=environment, cwd=tmp_path, start_new_session=True)
    while len(list(out.glob("part-*"))) < 3 and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = len(list(out.glob("part-*")))
    monkeypatch.setattr(command, "stream", in_process)
    report = predicted(model_folder, tree, out, shard=4)
    predicted(model_folder, tree, tmp_path / "whole", shard=4)
    assert 3 <= done < 150
    assert report.before >= 4 * done
    assert report.before + report.images == 602
    assert pq.read_table(out).equals(pq.read_table(tmp_path / "whole"))
