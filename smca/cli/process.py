"""What every entry point sets once for its process, before anything else is computed."""

from __future__ import annotations

import ctypes
import os
import sys
import warnings
from datetime import timedelta

from smca import telemetry
from smca.errors import printable

LONGEST = 2000
SECONDS_TO_ASK = 10
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def start(network: bool = False) -> None:
    """Import torch, flush denormals to zero, keep telemetry off, and the network too unless asked."""
    _keep_freed_memory()
    telemetry.switch_off()
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not network:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    warnings.filterwarnings("ignore", message="OpenCV .* is not installed", category=UserWarning)

    import torch

    torch.set_flush_denormal(True)


def _keep_freed_memory() -> None:
    """Let glibc use freed blocks again; it would return them and fault every page in anew at each step (log.md)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 32 << 20)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def say(text: str) -> None:
    """Print a result once, also when the processes of a distributed run all come by."""
    if os.environ.get("RANK", "0") == "0":
        print("\n".join(printable(line, LONGEST) for line in text.split("\n")), flush=True)


def complain(line: str) -> None:
    """Print a mistake to standard error; of the processes of torchrun that make the same one, only the first does."""
    if _is_news(line):
        print(line, file=sys.stderr, flush=True)


def _is_news(line: str) -> bool:
    """Whether no other process of torchrun has said so; asked of the store where torchrun's processes meet."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return True
    from torch.distributed import DistError, TCPStore

    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        store = TCPStore(host, port, is_master=False, timeout=timedelta(seconds=SECONDS_TO_ASK))
        return store.add(f"smca/{os.environ.get('TORCHELASTIC_RESTART_COUNT')}/{line}", 1) == 1
    except DistError:
        return True
