"""What a user does with a data set of a stranger, and what may become of it: a typed error in one line, or a result
that counts what was skipped. Everything else is a `DefectError`: a traceback, a hang, a write elsewhere, a program
started, a connection made, signs that command a terminal, a copy that cannot be read again.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

from smca.cli.main import main
from smca.data.dataset import EvalDataset, TrainDataset
from smca.data.layouts import FORMATS
from smca.data.reading import read_data, read_split, read_splits
from smca.data.records import Split
from smca.data.transforms import Augmentation, TrainTransform
from smca.errors import SmcaError
from smca.evaluation.coco import CocoEvaluator

Outcome = Literal["error", "skip", "read"]
LONGEST_LINE = 2000
SECONDS = 120.0  # nothing here takes as many; a busy machine may be slow


class DefectError(Exception):
    """What must never be."""


class HangError(BaseException):
    """Time is up; no handler of the program's own may take this for an error."""


def uses(data: Path, out: Path, page: bool) -> dict[str, Callable[[], Outcome]]:
    """What there is to do with a data set; all writes go into the new folder `out`. A page takes a while."""
    report = ("--report", out / "page") if page else ()
    return {
        "read for training": lambda: _reading(lambda: _train(data)),
        "read for evaluation": lambda: _reading(lambda: _evaluate(data)),
        "data check": lambda: _command("data", "check", data, *report, "--json", out / "check.json"),
        "data check --fix": lambda: _writing(out / "fixed", "data", "check", data, "--fix", out / "fixed"),
        **{
            f"data convert --to {to}": partial(_writing, out / to, "data", "convert", data, out / to, "--to", to)
            for to in FORMATS
        },
    }


def _reading(read: Callable[[], list[Split]]) -> Outcome:
    try:
        splits = read()
    except SmcaError as error:
        if "\0" in str(error):
            raise DefectError(f"a message with NUL: {error!r}") from error
        return "error"
    return "skip" if any(split.findings.total for split in splits) else "read"


def _train(data: Path) -> list[Split]:
    found = read_data(data)
    items = TrainDataset(found.train.records, TrainTransform(Augmentation.none(64, 96)))
    for index in range(min(len(items), 8)):
        boxes = items[index]["boxes"]
        if not bool(boxes.isfinite().all()) or (
            boxes.numel() and not 0 <= float(boxes.min()) <= float(boxes.max()) <= 1.001
        ):
            raise DefectError(f"boxes to train on: {boxes}")
    return [split for split in (found.train, found.val) if split is not None]


def _evaluate(data: Path) -> list[Split]:
    split = read_split(data, "train")
    items = EvalDataset(split.records)
    for index in range(min(len(items), 8)):
        _ = items[index]["image"]
    if len(split.records) < 1000 and len(split.class_names) < 1000:
        CocoEvaluator(split).summary()
    return [split]


def _writing(folder: Path, *words: str | Path) -> Outcome:
    outcome = _command(*words)
    if outcome != "error":
        try:
            copies = read_splits(folder)
        except SmcaError as error:
            raise DefectError(f"the copy cannot be read: {error}") from error
        for copy in copies:
            if copy.findings.missing_images or copy.findings.unreadable_images:
                raise DefectError(f"the copy lacks pictures: {copy.findings.lines()}")
    return outcome


def _command(*words: str | Path) -> Outcome:
    """Run a command and read what it says, as a terminal that takes UTF-8 alone would get it."""
    said, complained = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        status = main([str(word) for word in words])
    out, err = (stream.buffer.getvalue().decode() for stream in (said, complained))
    _check_text(out + err)
    if status not in (0, 2):
        raise DefectError(f"status {status}: {err}")
    if status == 2 and len([line for line in err.splitlines() if line.startswith("smca: ")]) != 1:
        raise DefectError(f"not one line: {err!r}")
    counted = any(sign in out for sign in (", skipped", ", dropped", ", clipped", "size taken", "cannot be read"))
    return "error" if status else "skip" if counted else "read"


def _check_text(text: str) -> None:
    if commands := {sign for sign in text if not sign.isprintable() and sign not in "\n\xa0"}:
        raise DefectError(f"signs that command a terminal: {commands}")
    if long := [line for line in text.splitlines() if len(line) > LONGEST_LINE]:
        raise DefectError(f"a line of {len(long[0])} signs: {long[0][:200]}")


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """HangError where the block takes longer."""

    def stop(*_: object) -> None:
        raise HangError(f"longer than {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Guard:
    """Notes every file that is written outside `allowed`, every program started and every connection made."""

    def __init__(self) -> None:
        self.allowed: Path | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._hear)

    @contextlib.contextmanager
    def watching(self, allowed: Path) -> Iterator[None]:
        """DefectError at the end of the block where something was noted."""
        self.allowed, self.seen = allowed, []
        before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        try:
            yield
        finally:
            self.allowed, sys.dont_write_bytecode = None, before
        if self.seen:
            raise DefectError("; ".join(self.seen[:3]))

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.allowed is None:
            return
        for path in _written(event, arguments):
            if not Path(os.path.realpath(os.fsdecode(path))).is_relative_to(self.allowed.resolve()):
                self.seen.append(f"{event} {path!r}")
        if event in ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "socket.connect"):
            self.seen.append(f"{event} {arguments!r}")


def _written(event: str, arguments: tuple[Any, ...]) -> list[Any]:
    if event == "open":
        path, _, flags = arguments
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        return [path] if writes and isinstance(path, str | bytes) and path != "/dev/null" else []
    if event in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.utime"):
        return [one for one in arguments[:1] if isinstance(one, str | bytes)]
    if event in ("os.rename", "os.link", "os.symlink"):
        return [one for one in arguments[:2] if isinstance(one, str | bytes)]
    return []


def snapshot(root: Path) -> dict[str, tuple[int, int, int]]:
    """Kind, size and time of change of all that lies in a folder, links not followed."""
    return {
        str(path.relative_to(root)): (stat.st_mode, stat.st_size, stat.st_mtime_ns)
        for path in root.rglob("*")
        for stat in [path.lstat()]
        if not path.is_dir() or path.is_symlink()
    }


def last_words(error: BaseException) -> str:
    """Where and why, in a line."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {str(error)[:200]!r} at {Path(where.filename).name}:{where.lineno} {where.name}"
