"""A data set in which one picture cannot be computed with: its pixels are infinite in every batch it comes in."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from smca.data.dataset import Collate, Item
from tests.training.runs import SMALL

BAD = 3


def spoil(monkeypatch: pytest.MonkeyPatch, bad: Sequence[int] = (BAD,)) -> None:
    """From now on the training records `bad` have infinite pixels."""
    collate = Collate.__call__

    def spoilt(self: Collate, items: Sequence[Item]) -> Item:
        batch: dict[str, Any] = collate(self, items)
        for place, record in enumerate(batch["records"].tolist()):
            if self.train and record in bad:
                batch["pixel_values"][place] = math.inf
        return batch

    monkeypatch.setattr(Collate, "__call__", spoilt)


def on_two_processes(data: Path, run: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Train two epochs of two updates as `smca train` on two processes, with the bad picture."""
    words = ["-m", "tests.training.bad_pictures", "train", str(data), "--recipe=smca-tiny", f"--out={run}"]
    options = ["--device=cpu", "--epochs=2", "--batch=4", "--image-size=64", "--workers=0", "--precision=fp32", "--set"]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [sys.executable, *launcher, *words, *options, *SMALL, *overrides],
        cwd=Path(__file__).parents[2], env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


if __name__ == "__main__":
    from smca.cli.main import main

    spoil(pytest.MonkeyPatch())
    sys.exit(main())
