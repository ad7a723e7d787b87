"""What a measurement was made on and when, for every file of results."""

from __future__ import annotations

import datetime as dt
import os
import platform
from pathlib import Path
from typing import Any

import torch
import transformers


def machine() -> dict[str, Any]:
    """{"machine": processor, cores, threads, GPU; "date": today; "versions": ...}."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return {
        "machine": f"{_processor()}, {cores} cores, {torch.get_num_threads()} threads, {device}",
        "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
