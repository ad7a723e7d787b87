"""A comparison that is killed at any moment goes on, and ends as one that never was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from smca.data.scenes import make_scenes
from smca.sizes import ImageSize

ROOT = Path(__file__).parents[2]
SYSTEMS = ("smca", "up-detr")
WORDS = (
    *("--models", ",".join(SYSTEMS), "--epochs=3", "--image-size=64", "--workers=0", "--device=cpu"),
    *("--pretrain-epochs=2", "--set", "backbone_widths=[4,8,8,8,8]", "d_model=64", "num_heads=2", "ffn_dim=16"),
    *("decoder_layers=2", "num_queries=14", "crop_epochs=2", "precision=fp32", "batch=2"),
)
MOMENTS = ("backbones/0.json", "runs/smca-0/metrics.jsonl", "pretrained", "runs/up-detr-0/run.json")


def compare(data: Path, out: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "smca", "compare", str(data), *WORDS, "--out", str(out)]
    return subprocess.Popen(words, env=environment, cwd=data, stdout=subprocess.DEVNULL, start_new_session=True)


def table(out: Path) -> list[dict[str, Any]]:
    """The rows without what depends on the clock or on memory."""
    clock = ("seconds", "memory")
    rows = json.loads((out / "table.json").read_text())["rows"]
    return [{key: value for key, value in row.items() if not any(word in key for word in clock)} for row in rows]


@pytest.mark.slow
def test_killed_at_every_stage_it_ends_as_if_it_never_was(tmp_path: Path) -> None:
    data = make_scenes(tmp_path / "scenes", images=12, seed=0, size=ImageSize(height=64, width=64))
    assert compare(data, tmp_path / "whole").wait(timeout=300) == 0
    out = tmp_path / "killed"
    for moment in MOMENTS:
        process = compare(data, out)
        while not (out / moment).exists() and process.poll() is None:
            time.sleep(0.01)
        assert process.poll() is None, f"ended before {moment}"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert compare(data, out).wait(timeout=300) == 0
    assert table(out) == table(tmp_path / "whole")
