"""Real runs of `smca train`, killed at random moments and gone on with, against runs that nothing disturbed.

    python -m benchmarks.soak.kills

Twenty times kill -9, wherever it hits: reading data, the warm-up, an update, an evaluation, the writing of a checkpoint
or a model; once each Ctrl-C and SIGTERM to a run and its loader processes. And disks that are full after so many
bytes, or read-only, where root can mount one.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from transformers.utils import logging

from benchmarks.soak.result import Figures, record
from smca.cli.main import main
from smca.cli.process import start
from smca.data.scenes import make_scenes
from smca.sizes import ImageSize
from smca.training.checkpoints import flaw_of
from smca.training.run_folder import RunFolder
from tests.training.runs import SMALL

ROOT = Path(__file__).parents[2]
EPOCHS = 6
OPTIONS = ("--recipe=smca-tiny", "--batch=4", "--image-size=64", "--device=cpu", "--precision=fp32")
BEGUN = ("an update:", "going on from")
NINE = signal.SIGKILL
SPAN = 0.8  # of the seconds that training took; afterwards the process ends by itself
LONGEST = 300.0  # seconds; a process that hangs is killed, which its status tells
MOST_RUNS = 12  # of a case, for some end before they are hit
DISKS = (30, 200, 500, 900, 1500)  # kilobytes


@dataclass(frozen=True)
class Case:
    """A configuration and the signals that end its runs."""

    name: str
    overrides: tuple[str, ...] = ()
    signals: tuple[signal.Signals, ...] = (NINE,) * 3
    workers: int = 0
    epochs: int = EPOCHS


CASES = (
    Case("plain", signals=(NINE,) * 4),
    Case("two loader processes", workers=2, signals=(NINE, NINE, signal.SIGTERM, NINE, signal.SIGINT, NINE)),
    Case("accumulation of gradients", ("micro_batch=1",)),
    Case("averaged weights, in parts", ("averaging=0.9", "micro_batch=2")),
    Case("stopping early", ("patience=1",), epochs=12),
    Case("backbone warm-up", ("crop_epochs=20", "backbone_norm=batch")),
)


@dataclass
class Process:
    """A running `smca train` or `smca resume`."""

    words: Sequence[str]
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "smca", *self.words],
            cwd=ROOT, env=environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.guard = threading.Timer(LONGEST, self.process.kill)
        self.guard.start()

    def begins(self) -> float:
        """Wait until training is about to begin; the moment."""
        for line in self.process.stdout or ():
            self.lines.append(line)
            if line.startswith(BEGUN):
                return time.monotonic()
        return time.monotonic()

    def end(self, number: signal.Signals, after: float) -> bool:
        """Send a signal after so many seconds, to all its processes unless it is kill -9; False: it had ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(after)
            return False
        if number is NINE:
            self.process.kill()
        else:
            os.killpg(self.process.pid, number)
        self.finish()
        return self.process.returncode != 0

    def finish(self) -> str:
        """Wait for its end; what it said."""
        self.lines += self.process.stdout or ()
        self.process.wait()
        self.guard.cancel()
        return "".join(self.lines)


def undisturbed(case: Case, data: Path, folder: Path) -> tuple[Path, float]:
    """A run from beginning to end, and how long it trains."""
    run = folder / f"{case.name}-whole"
    process = Process(words(case, data, run))
    begin = process.begins()
    said = process.finish()
    assert process.process.returncode == 0, said
    return run, time.monotonic() - begin


def words(case: Case, data: Path, run: Path) -> list[str]:
    """The command line of a run."""
    options = [*OPTIONS, f"--workers={case.workers}", f"--epochs={case.epochs}", f"--out={run}"]
    return ["train", str(data), *options, "--set", *SMALL, "dropout=0.1", "lr=3e-3", *case.overrides]


def disturbed(case: Case, data: Path, folder: Path) -> Counter[str]:
    """Runs ended by the signals of a case, each gone on with until it ends by itself; what happened, counted."""
    whole, seconds = undisturbed(case, data, folder)
    if case.name == "stopping early":
        assert len(RunFolder(whole).metrics()) < case.epochs, "nothing stopped early"
    chance, seen, waiting = random.Random(case.name), Counter[str](), list(case.signals)
    while waiting:
        run = folder / f"{case.name}-{seen['runs']}"
        process, ended = Process(words(case, data, run)), False
        while waiting and not ended:
            process.begins()
            left = 1 - len(RunFolder(run).metrics()) / case.epochs
            if process.end(waiting[0], chance.uniform(0, SPAN * seconds * left)):
                seen += look(process, run, waiting.pop(0))
                process = Process(["resume", str(run)])
            else:
                ended = True
        assert process.finish(), "a run says what it does"
        assert process.process.returncode == 0, "".join(process.lines)
        compare(run, whole)
        seen["runs"] += 1
        assert seen["runs"] <= MOST_RUNS, f"{case.name}: signals do not end runs"
    return seen


def look(process: Process, run: Path, number: signal.Signals) -> Counter[str]:
    """What a stopped run has left; all of it can be read."""
    folder = RunFolder(run)
    said, rows = "".join(process.lines), folder.metrics()
    kept = list(folder.checkpoints.path.glob("checkpoint-*"))
    assert not any(map(flaw_of, kept)), [flaw_of(one) for one in kept]
    for model in (run / name for name in ("best", "last") if (run / name).exists()):
        json.loads((model / "config.json").read_text())
        load_file(model / "model.safetensors")
    seen = Counter([f"stopped by {number.name}"])
    seen["stopped before the first checkpoint"] += not kept
    seen["stopped while a checkpoint was written or removed"] += bool(list(folder.checkpoints.draft.glob("*")))
    seen["stopped between an epoch and its checkpoint"] += len(rows) > len(kept) > 0 and newest_epoch(folder) < len(
        rows
    )
    if number is not NINE:
        assert process.process.returncode in (130, -number), said
        seen["saved at the update of the signal"] += "saved at update" in said
    return seen


def newest_epoch(folder: RunFolder) -> int:
    """How many epochs the newest checkpoint has seen the end of."""
    checkpoint, _ = folder.checkpoints.newest()
    return len(folder.metrics(checkpoint))


def compare(run: Path, whole: Path) -> None:
    """Two runs are equal, bit for bit, but for the seconds they took."""
    found, expected = ([{**row, "seconds": 0} for row in RunFolder(one).metrics()] for one in (run, whole))
    assert found == expected, (run.name, found, expected)
    last, _ = RunFolder(whole).checkpoints.newest()
    assert last
    names = [folder / "model.safetensors" for folder in (Path("best"), Path("last"), last.relative_to(whole))]
    names += [file.relative_to(whole) for file in last.glob("averaged.safetensors")]
    names += [Path(name) / "config.json" for name in ("best", "last")]
    for name in names:
        assert (run / name).read_bytes() == (whole / name).read_bytes(), (run.name, name)


@contextlib.contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[bool]:
    """A disk of so many kilobytes at `place`; False where this machine lets nobody mount one."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=True)


def said_by(arguments: list[str]) -> tuple[int, list[str]]:
    """The status and the lines on stderr of a command, in this process."""
    with contextlib.redirect_stderr(io.StringIO()) as told, contextlib.redirect_stdout(io.StringIO()):
        status = main(arguments)
    return status, told.getvalue().splitlines()


def full_disk(kilobytes: int, data: Path, folder: Path) -> bool:
    """A run whose disk gets full stops with a line; with more room it goes on. False: not tried."""
    place = folder / f"disk-{kilobytes}"
    case = CASES[0]
    with small_disk(place, kilobytes) as mounted:
        if not mounted:
            return False
        status, lines = said_by(words(case, data, place / "run"))
        assert (status, len(lines)) == (2, 1), (kilobytes, status, lines)
        assert "pace left on" in lines[0], lines
        run = RunFolder(place / "run")
        assert not any(map(flaw_of, run.checkpoints.path.glob("checkpoint-*")))
        for change in ("ro", "rw,size=20m"):
            subprocess.run(["mount", "-o", f"remount,{change}", str(place)], check=True)
            status, lines = said_by(["resume", str(run.path)]) if (run.path / "run.json").exists() else (2, ["none"])
            assert (status, len(lines)) == ((2, 1) if change == "ro" or lines == ["none"] else (0, 0)), (status, lines)
        compare(run.path, folder / f"{case.name}-whole") if lines != ["none"] else None
    return True


def work() -> Figures:
    """All cases, two at a time, then the disks."""
    start()
    logging.disable_progress_bar()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins with it ignored
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = make_scenes(folder / "scenes", images=24, seed=0, size=ImageSize(height=64, width=64))
        with ThreadPoolExecutor(2) as pool:
            seen = sum(pool.map(lambda case: disturbed(case, data, folder), CASES), Counter[str]())
        disks = sum(full_disk(kilobytes, data, folder) for kilobytes in DISKS)
    figures: dict[str, Any] = {"configurations": len(CASES), **dict(sorted(seen.items()))}
    return {**figures, "full and read-only disks": disks or "not tried: nothing can be mounted here"}


if __name__ == "__main__":
    record(
        "kills",
        "A run stopped at random moments by kill -9, Ctrl-C or SIGTERM and gone on with ends with the metrics and the "
        "weights of one that was not, bit for bit; a full or read-only disk is one line and harms nothing saved.",
        work,
    )
