"""Several processes as torchrun starts them, but forked, so that none imports anything anew."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import torch
from accelerate.state import AcceleratorState
from torch.distributed.launcher.api import LaunchConfig, elastic_launch


def in_processes(count: int, work: Callable[..., Any], *given: Any) -> dict[int, Any]:
    """What `work` returns in each, by rank; torchrun's ChildFailedError where one fails."""
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        start_method="fork",
        monitor_interval=0.05,
        max_restarts=0,
    )
    return elastic_launch(config, _begin)(work, *given)


def _begin(work: Callable[..., Any], *given: Any) -> Any:
    torch.set_num_threads(1)  # the parent's threads are not here
    AcceleratorState._reset_state(reset_partial_state=True)
    return work(*given)
