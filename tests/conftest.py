"""What all tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from smca.inference.interruption import USUAL


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of shared data (`SMCA_SHARED` or `shared` beside the repository), or skip."""
    folder = Path(os.environ.get("SMCA_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}: set SMCA_SHARED")
    return folder


@pytest.fixture(autouse=True)
def usual_signals() -> None:
    """Also where the tests run as a shell's background job, which begins with Ctrl-C ignored, and after Ray."""
    for number, usual in USUAL.items():
        signal.signal(number, usual)


@pytest.fixture(autouse=True)
def denormals_again() -> Iterator[None]:
    """Entry points flush them for their whole process; hypothesis refuses to draw numbers from there on."""
    yield
    torch.set_flush_denormal(False)
