"""What every entry point sets once for its process, before anything else is computed."""

from __future__ import annotations

import os
import warnings


def start(network: bool = False) -> None:
    """Import torch, flush denormals to zero, keep telemetry off, and the network too unless asked."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not network:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    warnings.filterwarnings("ignore", message="OpenCV .* is not installed", category=UserWarning)

    import torch

    torch.set_flush_denormal(True)


def say(text: str) -> None:
    """Print a result once, also when the processes of a distributed run all come by."""
    if os.environ.get("RANK", "0") == "0":
        print(text, flush=True)
