"""A batch from the source to the Parquet, with one worker in the test's process."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from smca.cli.main import main
from smca.deployment.batch import command, worker
from smca.deployment.batch.command import BatchReport, BatchRequest, predict_everything
from smca.errors import ClusterError, DataError, ModelError, OutputError
from tests.deployment.in_process import in_process, no_session

MakeTree = Callable[[Path, int], Path]


@pytest.fixture(autouse=True)
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "stream", in_process)
    monkeypatch.setattr(command, "session", no_session)


def predicted(model: Path, source: Path, out: Path, **options: Any) -> BatchReport:
    return predict_everything(BatchRequest(model, str(source), out, **options), print)


def rows(out: Path) -> list[dict[str, Any]]:
    return pq.read_table(out).to_pylist()


def test_what_is_done_is_skipped_and_what_is_new_is_added(
    model_folder: Path, make_tree: MakeTree, tmp_path: Path
) -> None:
    tree = make_tree(tmp_path / "tree", 10)
    out = tmp_path / "out"
    first = predicted(model_folder, tree, out)
    before = {path: path.stat().st_mtime_ns for path in out.glob("part-*")}
    (tree / "0000.png").rename(tree / "sub" / "0000.png")
    second = predicted(model_folder, tree, out)
    third = predicted(model_folder, tree, out)
    assert [(report.before, report.images) for report in (first, second, third)] == [(0, 12), (12, 1), (13, 0)]
    assert all(path.stat().st_mtime_ns == written for path, written in before.items())
    assert sorted(row["image"] for row in rows(out)) == sorted(
        [*map(str, tree.rglob("*.png")), str(tree / "empty.jpg"), str(tree / "0000.png")]
    )


def test_what_is_new_waits_for_what_is_undone(model_folder: Path, make_tree: MakeTree, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", 10)
    predicted(model_folder, tree, tmp_path / "out", shard=3)
    next((tmp_path / "out").glob("part-00000002-*")).unlink()
    (tree / "0000.png").rename(tree / "new.png")
    second, third = (predicted(model_folder, tree, tmp_path / "out", shard=3) for _ in range(2))
    assert [(report.before, report.images) for report in (second, third)] == [(9, 3), (12, 1)]


def test_bytes_and_names_from_parquet(model_folder: Path, make_tree: MakeTree, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", 21)
    pictures = sorted(tree.rglob("*.png"))
    contents = [*(picture.read_bytes() for picture in pictures), None]
    names = [*range(100, 100 + len(pictures)), None]
    (tmp_path / "tables").mkdir()
    table = pa.table({"id": pa.array(names, pa.int64()), "bytes": contents, "other": [0.5] * len(contents)})
    pq.write_table(table, tmp_path / "tables" / "a.parquet", row_group_size=5)
    report = predicted(model_folder, tmp_path / "tables", tmp_path / "out", shard=4)
    predicted(model_folder, tree, tmp_path / "of-files", shard=4)
    expected = {row.pop("image"): row for row in rows(tmp_path / "of-files")}
    found = {row.pop("image"): row for row in rows(tmp_path / "out")}
    assert (report.images, report.bad) == (23, 2)
    assert found.pop(f"{tmp_path}/tables/a.parquet:22")["error"] == "its row in the table is empty"
    assert found == {str(100 + i): expected[str(picture)] for i, picture in enumerate(pictures)}


def test_paths_from_parquet_are_relative_to_it(model_folder: Path, make_tree: MakeTree, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", 3)
    pq.write_table(pa.table({"path": ["tree/0000.png", str(tree / "0000.png"), "gone.png"]}), tmp_path / "a.parquet")
    predicted(model_folder, tmp_path / "*.parquet", tmp_path / "out", threshold=0)
    first, second, third = rows(tmp_path / "out")
    assert (first.pop("image"), second.pop("image")) == ("tree/0000.png", str(tree / "0000.png"))
    assert first == second
    assert len(first["labels"]) == 36
    assert (third["image"], third["error"]) == ("gone.png", "does not exist")


def test_rows_do_not_depend_on_their_companions(model_folder: Path, make_tree: MakeTree, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", 11)
    alone, together = tmp_path / "alone", tmp_path / "together"
    predicted(model_folder, tree, alone, threshold=0, shard=1)
    predicted(model_folder, tree, together, threshold=0, batch=4)
    for one, other in zip(rows(alone), rows(together), strict=True):
        assert (one["image"], one["width"], one["error"]) == (other["image"], other["width"], other["error"])
        for kind, tolerance in (("scores", 1e-5), ("boxes", 1e-2)):
            assert one[kind] == other[kind] or np.allclose(one[kind], other[kind], rtol=0, atol=tolerance)


@pytest.mark.parametrize("failure", [ModelError("the prediction for PATH is NaN"), torch.OutOfMemoryError("too large")])
def test_one_failing_image_does_not_take_its_batch_with_it(
    failure: Exception, model_folder: Path, make_tree: MakeTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = worker.predict_batch

    def fails(model: Any, processor: Any, images: Any, names: list[str], threshold: float) -> Any:
        if any("0003" in name for name in names):
            raise type(failure)(str(failure).replace("PATH", names[0]))
        return real(model, processor, images, names, threshold)

    monkeypatch.setattr(worker, "predict_batch", fails)
    predicted(model_folder, make_tree(tmp_path / "tree", 8), tmp_path / "out", batch=8)
    errors = {Path(row["image"]).name: row["error"] for row in rows(tmp_path / "out") if row["error"]}
    assert errors.keys() == {"empty.jpg", "torn.png", "0003.png"}
    assert errors["0003.png"] in ("no prediction: the prediction for is NaN", "no prediction: too large")


def test_no_image_can_be_used(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a.png").write_text("nothing")
    with pytest.raises(DataError, match="none of 1 images could be used: cannot be read"):
        predicted(model_folder, tmp_path / "tree", tmp_path / "out")


def test_another_threshold_is_refused(model_folder: Path, make_tree: MakeTree, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", 3)
    predicted(model_folder, tree, tmp_path / "out", threshold=0.25)
    with pytest.raises(OutputError, match=r"begun with threshold 0\.25, and now it is 0\.5"):
        predicted(model_folder, tree, tmp_path / "out", threshold=0.5)


def test_a_full_disk_stops_and_what_is_done_stays(
    model_folder: Path, make_tree: MakeTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = make_tree(tmp_path / "tree", 9)
    real = Path.write_bytes
    written = []

    def full(path: Path, data: bytes) -> int:
        if path.name.startswith(".part-"):
            written.append(path)
            if len(written) > 2:
                real(path, data[:10])
                raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(ClusterError, match="No space left"):
            predicted(model_folder, tree, tmp_path / "out", shard=2)
    assert len(rows(tmp_path / "out")) == 4
    report = predicted(model_folder, tree, tmp_path / "out", shard=2)
    assert (report.before, report.images, len(rows(tmp_path / "out"))) == (4, 7, 11)


def test_the_command_says_what_it_did(
    model_folder: Path, make_tree: MakeTree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = make_tree(tmp_path / "tree", 3)
    words = ["batch", str(model_folder), str(tree), str(tmp_path / "out"), "--json", str(tmp_path / "numbers.json")]
    assert main(words) == 0
    out = capsys.readouterr().out
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert "5 images in 0:0" in out
    assert "2 bad\n  1 cannot be read" in out
    assert (numbers["images"], numbers["bad"], sum(numbers["errors"].values())) == (5, 2, 2)
    assert numbers["images_per_second"] == pytest.approx(5 / numbers["seconds"])
    assert main(words) == 0
    assert "nothing to do: all 5 images are done" in capsys.readouterr().out


def test_mistakes_are_one_line_and_leave_nothing(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pa.table({"file": ["a.png"]}), tmp_path / "wrong.parquet")
    (tmp_path / "a.png").touch()
    out = tmp_path / "out"
    assert main(["batch", str(model_folder), str(tmp_path / "nowhere"), str(out)]) == 2
    assert main(["batch", str(tmp_path), str(tmp_path / "a.png"), str(out)]) == 2
    assert main(["batch", str(model_folder), str(tmp_path / "wrong.parquet"), str(out)]) == 2
    assert not out.exists()
    first, second, third = capsys.readouterr().err.splitlines()
    assert "no file or folder" in first
    assert "is not a model folder" in second
    assert "wrong.parquet has the columns file (string); allowed: path (string) or bytes (binary)" in third
