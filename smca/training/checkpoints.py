"""A folder of checkpoints: each is whole or not there, has the SHA-256 of its files, and the last two are kept.

    checkpoint-STEP          one that is whole: sha256.json, {file: checksum}, was written last, then it was put here
    .new/checkpoint-STEP     one that is being written or removed; never read

A checkpoint that the disk has damaged since is found by its checksums, passed over and said. Raises OutputError for a
place that cannot be written.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from smca.errors import DataError
from smca.files import read_json, write_json, writing

CHECKSUMS = "sha256.json"
PIECE = 1 << 20


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints in a folder, by the number of updates after which they were written."""

    path: Path

    @property
    def draft(self) -> Path:
        """Where one is written."""
        return self.path / ".new"

    def clear_draft(self) -> None:
        """Remove what a run that was killed while it wrote has left."""
        shutil.rmtree(self.draft, ignore_errors=True)

    def keep(self, step: int) -> Path:
        """Put the one just written in its place, and remove all but it and the one before; returns its place.

        Those of later steps are damaged: the run would have gone on from them.
        """
        fresh = self.draft / f"checkpoint-{step}"
        place = self.path / fresh.name
        with writing(place):
            write_json(fresh / CHECKSUMS, {file.name: _checksum(file, settle=True) for file in _files(fresh)})
            shutil.rmtree(place, ignore_errors=True)
            fresh.rename(place)
            before = [folder for folder in self._all() if _step(folder) < step]
            for folder in self._all():
                if folder not in (place, *before[-1:]):
                    shutil.rmtree(folder.rename(self.draft / folder.name), ignore_errors=True)
        return place

    def newest(self) -> tuple[Path | None, list[str]]:
        """The newest that is whole, and a line for every newer one that is not."""
        passed_over = []
        for folder in reversed(self._all()):
            flaw = flaw_of(folder)
            if not flaw:
                return folder, passed_over
            passed_over.append(f"{folder} is damaged ({flaw}) and passed over")
        return None, passed_over

    def _all(self) -> list[Path]:
        found = [folder for folder in self.path.glob("checkpoint-*") if folder.name.rpartition("-")[2].isdecimal()]
        return sorted(found, key=_step)


def flaw_of(checkpoint: Path) -> str:
    """What is wrong with a checkpoint, in a few words; "" when it is whole."""
    try:
        expected = read_json(checkpoint / CHECKSUMS)
    except DataError:
        expected = None
    if not isinstance(expected, dict) or not expected:
        return f"no readable {CHECKSUMS}"
    try:
        changed = [name for name, checksum in expected.items() if _checksum(checkpoint / name) != checksum]
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    return f"{changed[0]} has changed" if changed else ""


def _step(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file() and file.name != CHECKSUMS)


def _checksum(file: Path, settle: bool = False) -> str:
    """SHA-256 as hexadecimal digits; `settle`: only once the file is on the disk, whatever happens to the power."""
    digest = hashlib.sha256()
    with file.open("rb+" if settle else "rb") as content:
        if settle:
            os.fsync(content.fileno())
        while piece := content.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()
