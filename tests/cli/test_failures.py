import errno
import os

import pytest

from smca.cli.failures import outside


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.bin"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:863] . PytorchStreamWriter failed writing file data/0"),
        RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 15467328 vs 15467216"),
    ],
)
def test_a_full_disk_is_told_in_one_line(error: Exception) -> None:
    told = outside(error)
    assert told is not None
    assert "no space left" in told
    assert "smca resume" in told


def test_a_folder_that_may_not_be_written_is_named() -> None:
    assert outside(OSError(errno.EROFS, "Read-only file system", "there/run.json")) == (
        "there/run.json: Read-only file system"
    )


def test_the_cause_counts_and_a_defect_stays_one() -> None:
    error = ValueError("while saving")
    assert outside(error) is None
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert outside(error)
    assert outside(FileNotFoundError(errno.ENOENT, "No such file or directory", "x")) is None
