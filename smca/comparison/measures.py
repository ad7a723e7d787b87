"""What a finished run is measured by, beside its AP: parameters, multiply-adds, seconds an image, memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import torch

from smca.data.images import load_image
from smca.inference.loading import load
from smca.inference.predict import predict_with
from smca.training.detector import Detector
from smca.training.info import describe
from smca.training.run_folder import RunFolder

MIB = 2**20


def measure(folder: RunFolder, pictures: Sequence[Path]) -> dict[str, Any]:
    """Of the best model: parameters, GMACs at its own size, median seconds to predict one of `pictures`."""
    best = folder.path / "best"
    numbers = describe(str(best))
    return {
        "parameters": numbers["parameters_total"],
        "gmacs": numbers["gmacs"],
        "gmacs_size": f"{numbers['image_height']}x{numbers['image_width']}",
        "seconds_per_image": _seconds(cast(Detector, load(best)), pictures),
    }


def _seconds(model: Detector, pictures: Sequence[Path]) -> float:
    taken = []
    for picture in pictures:
        image = load_image(picture)
        started = time.perf_counter()
        predict_with(model, [image])
        taken.append(time.perf_counter() - started)
    return round(statistics.median(taken), 5)


class PeakMemory:
    """The most memory of the process (Linux) and of its GPU while it is entered, in MiB; None where not known."""

    def __enter__(self) -> PeakMemory:
        self._resets = self._reset()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        pass

    def found(self) -> dict[str, float | None]:
        """The peaks since it was entered."""
        device = round(torch.cuda.max_memory_allocated() / MIB, 1) if torch.cuda.is_available() else None
        return {"peak_memory_mib": self._resident() if self._resets else None, "peak_gpu_memory_mib": device}

    @staticmethod
    def _reset() -> bool:
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return False
        return True

    @staticmethod
    def _resident() -> float | None:
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next((line for line in lines if line.startswith("VmHWM")), None)
        return round(int(peak.split()[1]) / 1024, 1) if peak else None
