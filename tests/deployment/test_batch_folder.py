"""OUT: whose it is, who works in it, and which images are to blame."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from smca.deployment.batch.attempts import DIED, MOST_ATTEMPTS, Attempts
from smca.deployment.batch.folder import BatchFolder, Manifest, model_hash
from smca.deployment.batch.listing import Shard
from smca.errors import ClusterError, OutputError
from tests.held import held

MANIFEST = Manifest("0123", "/images", 0.5, "fp32", None)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("model", dataclasses.replace(MANIFEST, model="9")),
        ("source", dataclasses.replace(MANIFEST, source="/b")),
        ("threshold", dataclasses.replace(MANIFEST, threshold=0.4)),
        ("precision", dataclasses.replace(MANIFEST, precision="bf16")),
        ("shard", dataclasses.replace(MANIFEST, shard=9)),
    ],
)
def test_another_batch_is_refused_and_has_another_key(name: str, other: Manifest, tmp_path: Path) -> None:
    assert BatchFolder.claimed(tmp_path, MANIFEST).key == BatchFolder.claimed(tmp_path, MANIFEST).key != other.key()
    with pytest.raises(OutputError, match=f"begun with {name} .*, and now it is {getattr(other, name)}"):
        BatchFolder.claimed(tmp_path, other)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(OutputError, match="in use"):
        BatchFolder.claimed(tmp_path, MANIFEST)


def test_only_whole_files_of_this_batch_count_as_done(tmp_path: Path) -> None:
    folder = BatchFolder.claimed(tmp_path, MANIFEST)
    folder.part(0).touch()
    (tmp_path / ".part-00000001-torn").touch()
    (tmp_path / "part-00000002-00000000.parquet").touch()
    with folder.alone():
        left = [shard.number for shard in folder.undone(iter(Shard(n, 1, tmp_path) for n in range(3)))]
    assert left == [1, 2]
    assert not (tmp_path / ".part-00000001-torn").exists()


def test_two_processes_do_not_write_at_once(tmp_path: Path) -> None:
    folder = BatchFolder.claimed(tmp_path, MANIFEST)
    with held(tmp_path), pytest.raises(OutputError, match="another smca batch writes"), folder.alone():
        pass
    with folder.alone():
        pass


def test_a_model_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    same = model_hash(tmp_path / "a")
    assert same == model_hash(tmp_path / "b")
    (tmp_path / "b" / "config.json").write_text("[]")
    assert same != model_hash(tmp_path / "b")
    (tmp_path / "m.onnx").write_text("1")
    alone = model_hash(tmp_path / "m.onnx")
    (tmp_path / "m.onnx.data").write_text("weights")
    assert alone != model_hash(tmp_path / "m.onnx")


def fail(folder: Path, *images: int) -> Attempts:
    """One attempt that gets as far as the last of the images, and dies."""
    attempts = Attempts(folder, 7)
    for image in images:
        attempts.at(image)
    return attempts


def test_an_image_is_to_blame_when_two_careful_attempts_end_at_it(tmp_path: Path) -> None:
    assert not fail(tmp_path).careful
    assert fail(tmp_path, 0, 1, 2).careful
    assert fail(tmp_path, 0, 1).blamed == {}
    assert fail(tmp_path, 0, 1, 2).blamed == {}
    last = Attempts(tmp_path, 7)
    assert last.blamed == {2: DIED}
    last.done()
    assert not Attempts(tmp_path, 7).careful
    assert not Attempts(tmp_path, 8).careful


def test_a_reason_is_kept(tmp_path: Path) -> None:
    fail(tmp_path)
    for _ in range(2):
        fail(tmp_path, 3, 4).failed(ValueError("odd\nsize"))
    assert Attempts(tmp_path, 7).blamed == {4: "ValueError: odd size"}


def test_a_shard_that_never_ends_well_is_given_up(tmp_path: Path) -> None:
    for _ in range(MOST_ATTEMPTS):
        fail(tmp_path).failed(ValueError("odd"))
    with pytest.raises(
        ClusterError, match=f"shard 7 failed {MOST_ATTEMPTS} times in its worker, at last: ValueError: odd"
    ):
        Attempts(tmp_path, 7)
