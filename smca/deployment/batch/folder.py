"""The folder OUT of a batch, which is also its memory.

    _manifest.json        what the batch is: model, source, threshold, ...; written first
    _listing/             which image is in which shard (listing.py)
    _attempts/            what workers are at (attempts.py), empty between runs
    part-00000000-8f3c01d2.parquet   the rows of shard 0, named by its number and the batch's key

Readers of Parquet folders pass over names that begin with "_" or ".". Raises OutputError for a folder in use by
something else, by another batch, or by a process that still runs.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from smca.deployment.batch.listing import Shard
from smca.errors import OutputError
from smca.files import alone, claim_folder, read_json, write_json

MANIFEST = "_manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What must be the same for a batch to go on.

    model: the hash of its files; source: absolute; shard: images a shard, None when it grows.
    """

    model: str
    source: str
    threshold: float
    precision: str
    shard: int | None

    def key(self) -> str:
        """Eight hexadecimal digits that stand for all of it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]


class BatchFolder:
    """OUT of the batch that `key` stands for."""

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self.key = key
        self.manifest = path / MANIFEST
        self.listing = path / "_listing"
        self.attempts = path / "_attempts"

    @classmethod
    def claimed(cls, path: Path, manifest: Manifest) -> BatchFolder:
        """The folder at `path`, new or begun by the same batch."""
        folder = cls(path, manifest.key())
        if folder.manifest.is_file():
            _compare(path, read_json(folder.manifest), manifest)
        else:
            claim_folder(path, "choose another, or one that smca batch began")
            write_json(folder.manifest, asdict(manifest))
        return folder

    def part(self, shard: int) -> Path:
        """The file of a shard."""
        return self.path / f"part-{shard:08d}-{self.key}.parquet"

    def undone(self, shards: Iterator[Shard]) -> Iterator[Shard]:
        """Those of the shards that have no file yet."""
        done = {path.name for path in self.path.glob("part-*.parquet")}
        return (shard for shard in shards if self.part(shard.number).name not in done)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Work in the folder while no other process does; what killed ones left half done is removed."""
        with alone(self.path, "smca batch"):
            self._clean()
            yield
            self._clean()

    def _clean(self) -> None:
        shutil.rmtree(self.attempts, ignore_errors=True)
        for torn in self.path.glob(".part-*"):
            torn.unlink(missing_ok=True)


def model_hash(path: Path) -> str:
    """The hash of a model folder's files, or of an exported file and those that go with it (same stem)."""
    files = path.iterdir() if path.is_dir() else path.parent.glob(f"{path.stem}.*")
    digest = hashlib.sha256()
    for file in sorted(file for file in files if file.is_file() and not file.name.startswith(".")):
        digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def _compare(path: Path, before: dict[str, object], now: Manifest) -> None:
    for name, value in asdict(now).items():
        if before.get(name) != value:
            was = before.get(name)
            advice = "repeat the same command or choose another OUT"
            raise OutputError(f"{path} was begun with {name} {was}, and now it is {value}; {advice}")
