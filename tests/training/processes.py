"""Several processes as torchrun starts them, but forked from one that has imported all and done nothing."""

from __future__ import annotations

import multiprocessing
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

ROOT = Path(__file__).parents[2]
multiprocessing.set_forkserver_preload(["smca.training.launch", "smca.training.page", "tests.training.processes"])


def in_processes(count: int, work: Callable[..., Any], *given: Any) -> dict[int, Any]:
    """What `work` returns in each, by rank; torchrun's ChildFailedError where one fails."""
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        start_method="forkserver",
        monitor_interval=0.05,
        max_restarts=0,
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(ROOT))
        return elastic_launch(config, _begin)(torch.get_default_dtype(), work, *given)


def _begin(dtype: torch.dtype, work: Callable[..., Any], *given: Any) -> Any:
    torch.set_num_threads(1)
    torch.set_default_dtype(dtype)
    return work(*given)
