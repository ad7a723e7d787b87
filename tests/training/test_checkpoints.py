"""A checkpoint is whole or it is not read."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smca.errors import OutputError
from smca.training.checkpoints import CHECKSUMS, Checkpoints, flaw_of

FILES = {"model.safetensors": b"weights" * 40, "optimizer.pt": bytes(range(256)), "trainer_state.json": b"{}"}


def draft(checkpoints: Checkpoints, step: int) -> None:
    folder = checkpoints.draft / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)


def keep(checkpoints: Checkpoints, *steps: int) -> None:
    for step in steps:
        draft(checkpoints, step)
        assert checkpoints.keep(step) == checkpoints.path / f"checkpoint-{step}"


def names(checkpoints: Checkpoints) -> list[str]:
    return sorted(entry.name for entry in checkpoints.path.iterdir())


def test_the_last_two_are_kept_by_number(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.newest() == (None, [])
    keep(checkpoints, 2, 9, 10)
    checkpoints.clear_draft()
    (tmp_path / "checkpoint-mine").mkdir()
    assert names(checkpoints) == ["checkpoint-10", "checkpoint-9", "checkpoint-mine"]
    assert checkpoints.newest() == (tmp_path / "checkpoint-10", [])


def test_what_is_being_written_is_never_read(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    draft(checkpoints, 5)
    assert checkpoints.newest() == (None, [])
    checkpoints.clear_draft()
    assert names(checkpoints) == []


@given(
    how=st.sampled_from(["flipped", "cut", "gone"]),
    name=st.sampled_from([*FILES, CHECKSUMS]),
    place=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
)
@settings(max_examples=60, deadline=None)
def test_any_damage_is_found_and_the_one_before_is_used(how: str, name: str, place: float, bit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder))
        keep(checkpoints, 1, 2)
        file = checkpoints.path / "checkpoint-2" / name
        content = bytearray(file.read_bytes())
        at = int(place * len(content.rstrip()))
        if how == "flipped":
            content[at] ^= 1 << bit
        file.write_bytes(content[:at] if how == "cut" else content)
        if how == "gone":
            file.unlink()
        found, (line,) = checkpoints.newest()
        assert found == checkpoints.path / "checkpoint-1"
        assert line.startswith(f"{checkpoints.path / 'checkpoint-2'} is damaged (")
        assert line.endswith(") and passed over")
        assert name in line or name == CHECKSUMS


def test_a_damaged_one_is_replaced_and_does_not_count(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    keep(checkpoints, 2, 4)
    (tmp_path / "checkpoint-4" / "optimizer.pt").write_bytes(b"")
    keep(checkpoints, 3)
    checkpoints.clear_draft()
    assert names(checkpoints) == ["checkpoint-2", "checkpoint-3"]
    (tmp_path / "checkpoint-3" / "optimizer.pt").write_bytes(b"")
    keep(checkpoints, 3)
    assert checkpoints.newest() == (tmp_path / "checkpoint-3", [])


def test_one_whose_removal_is_cut_short_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path)
    keep(checkpoints, 1, 2)
    remove = shutil.rmtree

    def killed(folder: Path, ignore_errors: bool) -> None:
        if folder.name == "checkpoint-1":
            (folder / CHECKSUMS).unlink()
            raise KeyboardInterrupt
        remove(folder, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", killed)
    draft(checkpoints, 3)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.keep(3)
    assert [flaw_of(folder) for folder in tmp_path.glob("checkpoint-*")] == ["", ""]
    checkpoints.clear_draft()
    assert names(checkpoints) == ["checkpoint-2", "checkpoint-3"]


def test_a_full_disk_leaves_the_ones_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path)
    keep(checkpoints, 1, 2)
    draft(checkpoints, 3)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"cannot write .*checkpoint-3: No space left on device"):
        checkpoints.keep(3)
    checkpoints.clear_draft()
    assert names(checkpoints) == ["checkpoint-1", "checkpoint-2"]
    assert checkpoints.newest() == (tmp_path / "checkpoint-2", [])
