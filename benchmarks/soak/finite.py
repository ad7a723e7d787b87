"""A thousand updates in half precision stay finite, and two processes stop alike where one sees a bad picture.

bf16 is trained as the recipe does on a CPU (the backbone alone) and as on a GPU (autocast over the whole model), fp16
over the whole model with the scaler of its gradients; its backbone is narrower, for torch has no fast gradient of a
float16 convolution on a CPU. Every loss, every norm of the gradients and all weights count.
"""

from __future__ import annotations

import math
import re
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from safetensors.torch import load_file

from benchmarks.soak.result import Figures, record
from smca.cli.process import start
from smca.data.scenes import make_scenes
from smca.sizes import ImageSize
from smca.training.bad_batches import FOLDER
from smca.training.finite import FiniteGuard
from smca.training.launch import train
from smca.training.request import TrainRequest
from smca.training.run_folder import RunFolder
from smca.training.trainer import DetectionTrainer
from tests.training.bad_pictures import on_two_processes

CLAIM = (
    "1,000 updates of smca-tiny each in bf16 (the backbone, and the whole model under autocast) and in fp16 (the whole "
    "model with a narrow backbone, scaled gradients) have finite losses, gradients and weights, and learn; where one "
    "of two processes sees a picture that is not finite, both stop at that update and one line names it."
)
SIDE = 64
UPDATES = 1000
EPOCHS = 5
BATCH = 4
NARROW = "backbone_widths=4,8,8,8,8"
MOST_OVERFLOWS = 20  # halvings of the scale from 2^16 that fp16 may need to settle


class Numbers:
    """Losses and norms of every update of a run."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.overflows = 0

    def watched(self) -> AbstractContextManager[object]:
        """While it lasts, the guard tells us what it sees."""
        check = FiniteGuard.check

        def noted(guard: FiniteGuard, model: Any, norm: torch.Tensor | float) -> None:
            self.losses += [float(loss) for loss in guard._losses]
            self.norms.append(float(norm))
            check(guard, model, norm)
            self.overflows = guard.overflows

        return mock.patch.object(FiniteGuard, "check", noted)


def whole_model_in_bf16() -> AbstractContextManager[object]:
    """The Trainer's door to autocast, as it stands open on a GPU."""

    def autocast(*_: object, **__: object) -> AbstractContextManager[object]:
        return torch.autocast("cpu", torch.bfloat16)

    return mock.patch.object(DetectionTrainer, "autocast_smart_context_manager", autocast)


def trained(data: Path, out: Path, precision: str, around: AbstractContextManager[object]) -> Figures:
    """One run; raises AssertionError where a number was not finite."""
    begin, numbers = time.monotonic(), Numbers()
    request = TrainRequest(
        data, "smca-tiny", out, epochs=EPOCHS, batch=BATCH, image_size=SIDE, precision=precision, workers=0,
        overrides=("crop_epochs=0", "flip=0", "dropout=0.1", *[NARROW] * (precision == "fp16")), device="cpu",
        report_to=(),
    )  # fmt: skip
    with around, numbers.watched():
        train(request)
    rows = RunFolder(out).metrics()
    bad = [norm for norm in numbers.norms if not math.isfinite(norm)]
    weights = load_file(out / "last" / "model.safetensors")
    assert len(numbers.norms) == UPDATES, len(numbers.norms)
    assert all(map(math.isfinite, numbers.losses))
    assert len(bad) == numbers.overflows <= (MOST_OVERFLOWS if precision == "fp16" else 0), bad
    assert not (out / FOLDER).exists()
    assert all(bool(value.isfinite().all()) for value in weights.values())
    assert rows[-1]["loss"] < rows[0]["loss"], [row["loss"] for row in rows]
    return {
        "largest loss": round(max(numbers.losses), 2),
        "largest norm": round(max(norm for norm in numbers.norms if math.isfinite(norm)), 1),
        "overflows": numbers.overflows,
        "loss": f"{rows[0]['loss']:.2f} -> {rows[-1]['loss']:.2f}",
        "seconds": round(time.monotonic() - begin),
    }


def work() -> Figures:
    """All runs, one after the other."""
    figures: Figures = {"updates each": UPDATES}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        images = UPDATES * BATCH // EPOCHS + 8
        data = make_scenes(folder / "scenes", images, val_images=8, size=ImageSize(height=SIDE, width=SIDE))
        runs = {"bf16 backbone": nullcontext(), "bf16 model": whole_model_in_bf16(), "fp16 model": nullcontext()}
        for name, around in runs.items():
            precision = "fp32" if name == "bf16 model" else name[:4]
            found = trained(data, folder / name.replace(" ", "-"), precision, around)
            figures |= {f"{name}: {what}": value for what, value in found.items()}
        few = make_scenes(folder / "few", 12, size=ImageSize(height=64, width=64))
        done = on_two_processes(few, folder / "two")
        assert done.returncode != 0
        assert done.stderr.count("smca: update 1 is not finite: pixels of the batch") == 1, done.stderr
        assert len(re.findall(r"exitcode *: 2 ", done.stderr)) == 2, done.stderr
        figures["two processes that stopped at the same update"] = 2
    return figures


if __name__ == "__main__":
    start()
    record("finite", CLAIM, work)
