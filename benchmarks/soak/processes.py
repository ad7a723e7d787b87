"""Several processes of torchrun: they learn what one does, end with a reason when one does, and what they cost.

python -m benchmarks.soak.processes            # under five minutes alone
python -m benchmarks.soak.processes --page     # the table of docs/distributed.md from the JSON alone
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import distributed

from benchmarks.soak.result import FOLDER, Figures, record
from smca.data.scenes import make_scenes
from smca.files import write_atomically
from smca.sizes import ImageSize

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "distributed.md"
MARKS = ("<!-- written by benchmarks/soak/processes.py -->\n", "<!-- end -->")
CLAIM = (
    "Two processes of torchrun learn what one does; one that is killed, fails or stands still ends all; "
    "a user's mistake is one line."
)
PARAMETERS = {"smca-tiny": 2.14e6, "smca-r50": 39.5e6}
SMALL = ("dropout=0", "backbone_norm=layer", "crop_epochs=0", "lr=1e-3")
# Runs the command line. Process 1 ends or stands still after three updates: by the signal given, 0 for an exception, -1
# for not at all. The first process leaves the milliseconds of its updates.
WATCHED = """
import json, os, sys, time
from pathlib import Path
from smca.training import launch, recorder
launch.SECONDS_TO_WAIT = 20
number, ends, follow = int(sys.argv[1]), [], recorder.Recorder.on_step_end
def step(self, args, state, control, **options):
    follow(self, args, state, control, **options)
    ends.append((round(state.epoch or 0, 6), 1000 * time.perf_counter()))
    if state.global_step == 3 and os.environ["RANK"] == "1" and number >= 0:
        os.kill(os.getpid(), number) if number else sys.exit("as if it were a defect")
recorder.Recorder.on_step_end = step
from smca.cli.main import main
status = main(sys.argv[2:])
if os.environ["RANK"] == "0":
    pairs = zip(ends, ends[1:])
    Path("steps.json").write_text(json.dumps([b - a for (old, a), (new, b) in pairs if old % 1]))
sys.exit(status)
"""


def torchrun(count: int, *words: str, folder: Path, seconds: float = 240) -> subprocess.CompletedProcess[str]:
    """Run words of Python in `count` processes of one thread."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    return subprocess.run(
        [*launcher, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )


def training(data: Path, out: str, *overrides: str) -> list[str]:
    """The words of `smca train` for a small model."""
    options = ["--batch=4", "--image-size=128", "--epochs=4", "--workers=0", "--device=cpu", "--precision=fp32"]
    return ["train", str(data), "--recipe=smca-tiny", f"--out={out}", *options, "--set", *SMALL, *overrides]


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def learn(folder: Path, data: Path) -> Figures:
    """Two processes and one, the same batch; an update of both."""
    steps, found = {}, {}
    for count in (1, 2):
        done = torchrun(count, "watched.py", "-1", *training(data, f"run{count}"), folder=folder)
        assert done.returncode == 0, done.stderr[-2000:]
        found[count] = losses(folder / f"run{count}")
        steps[count] = statistics.median(json.loads((folder / "steps.json").read_text()))
    apart = max(abs(a - b) / a for a, b in zip(found[1], found[2], strict=True))
    assert apart < 1e-4, found
    return {
        "relative distance of the losses, 2 processes and 1": f"{apart:.1e}",
        "ms an update of 4 images, 1 process of 1 thread": round(steps[1]),
        "ms an update of 4 images, 2 processes of 1 thread": round(steps[2]),
    }


def end(folder: Path, data: Path) -> Figures:
    """How soon all end when one is killed, fails or stands still."""
    kinds = {"is killed": signal.SIGKILL, "fails": 0, "stands still (20 s of patience)": signal.SIGSTOP}
    figures: Figures = {}
    for number, (kind, sign) in enumerate(kinds.items()):
        begin = time.monotonic()
        done = torchrun(2, "watched.py", str(int(sign)), *training(data, f"end{number}"), folder=folder)
        assert done.returncode == 1, done.returncode
        assert {0: "exitcode  : 1", 9: "SIGKILL"}.get(int(sign), "Timed out") in done.stderr, done.stderr[-3000:]
        figures[f"seconds of a run whose process {kind}"] = round(time.monotonic() - begin, 1)
    return figures


def mistake(folder: Path) -> Figures:
    """Lines about a path that is not there."""
    done = torchrun(2, "-m", "smca", *training(folder / "nowhere", "never"), folder=folder)
    lines = [line for line in done.stderr.splitlines() if line.startswith("smca: ")]
    assert len(lines) == 1, done.stderr
    assert "exitcode  : 2" in done.stderr
    return {"lines about a mistake of the user": len(lines)}


def reduce_alone() -> None:
    """In each process: the mean of as many gradients as a model has, in milliseconds, into a file of the first."""
    distributed.init_process_group("gloo")
    found = {}
    for name, count in PARAMETERS.items():
        gradient = torch.zeros(int(count))
        times = []
        for _ in range(6):
            begin = time.perf_counter()
            distributed.all_reduce(gradient)
            times.append(1000 * (time.perf_counter() - begin))
        found[name] = statistics.median(times[1:])
    if distributed.get_rank() == 0:
        Path(sys.argv[2]).write_text(json.dumps(found))
    distributed.destroy_process_group()


def cost(folder: Path) -> Figures:
    done = torchrun(2, "-m", "benchmarks.soak.processes", "--reduce", str(folder / "reduce.json"), folder=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((folder / "reduce.json").read_text())
    return {f"ms to reduce {name}'s gradients over 2 processes (gloo)": round(ms, 1) for name, ms in found.items()}


def work() -> Figures:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "watched.py").write_text(WATCHED)
        data = make_scenes(folder / "scenes", images=17, seed=0, size=ImageSize(height=128, width=128))
        return {**learn(folder, data), **end(folder, data), **mistake(folder), **cost(folder)}


def page() -> None:
    """Put the figures into the page."""
    found = json.loads((FOLDER / "processes.json").read_text())
    rows = [f"| {name} | {value} |" for name, value in found["figures"].items()]
    table = "\n".join(
        ["", f"Measured on {found['date']}: {found['machine']}.", "", "| | |", "|---|---|", *rows, "", ""]
    )
    before, rest = PAGE.read_text().split(MARKS[0])
    write_atomically(PAGE, before + MARKS[0] + table + MARKS[1] + rest.split(MARKS[1], 1)[1])


if __name__ == "__main__":
    if "--reduce" in sys.argv:
        reduce_alone()
    else:
        if "--page" not in sys.argv:
            record("processes", CLAIM, work)
        page()
