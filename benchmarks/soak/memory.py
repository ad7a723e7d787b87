"""The memory of a training process after each of 30 epochs: it must not grow with their number.

Resident memory is read at the end of an epoch, after evaluation, models and the page. The first ten epochs, in which
caches and allocators fill, do not count; a line is fitted to the others. The limit, 1 MB an epoch, is a quarter of what
one leaked batch an update would be (4 MB an epoch here), and above what one step makes of it: two
whole runs had a step of 4 to 6 MB between epochs 16 and 18, whose cause is not known, and were flat before and after.
The median growth says how flat.
"""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.soak.result import Figures, record
from smca.cli.process import start
from smca.data.scenes import make_scenes
from smca.sizes import ImageSize
from smca.training.launch import train
from smca.training.recorder import Recorder
from smca.training.request import TrainRequest

CLAIM = "30 epochs of smca-tiny in one process leave its memory where it was after the first ten."
EPOCHS = 30
COUNTED = 20
UPDATES = 20
BATCH = 4
SIDE = 64
LIMIT = 1.0  # MB an epoch


def resident() -> float:
    """MB of this process that are in memory (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) * 1024 / 1e6


def slope(values: list[float]) -> float:
    """Growth from one value to the next, by least squares."""
    return float(np.polyfit(range(len(values)), values, 1)[0])


def work() -> Figures:
    """Train and measure; raises AssertionError where memory grows."""
    measured: list[float] = []
    follow = Recorder.on_evaluate

    def noted(self: Recorder, *arguments: Any, **options: Any) -> None:
        follow(self, *arguments, **options)
        gc.collect()
        measured.append(resident())

    with tempfile.TemporaryDirectory() as place, mock.patch.object(Recorder, "on_evaluate", noted):
        folder = Path(place)
        size = ImageSize(height=SIDE, width=SIDE)
        data = make_scenes(folder / "scenes", UPDATES * BATCH + 8, val_images=8, size=size)
        request = TrainRequest(
            data, "smca-tiny", folder / "run", epochs=EPOCHS, batch=BATCH, image_size=SIDE, workers=0, device="cpu",
            overrides=("crop_epochs=0",),
        )  # fmt: skip
        train(request)
    grown = slope(measured[-COUNTED:])
    print("MB after each epoch:", " ".join(f"{one:.1f}" for one in measured))
    assert len(measured) == EPOCHS
    assert grown <= LIMIT, f"{grown:.2f} MB an epoch, {LIMIT} are allowed"
    return {
        "epochs, updates": f"{EPOCHS}, {EPOCHS * UPDATES}",
        "MB after epoch 1, 10, 20, 30": ", ".join(f"{measured[epoch - 1]:.1f}" for epoch in (1, 10, 20, 30)),
        f"MB an epoch over the last {COUNTED}": round(grown, 3),
        "allowed": LIMIT,
        "median growth, MB an epoch": round(float(np.median(np.diff(measured[-COUNTED:]))), 3),
    }


if __name__ == "__main__":
    start()
    record("memory", CLAIM, work)
