"""Ray for one job: started on this machine or joined by address, quiet, without telemetry and dashboard.

Raises ConfigurationError without Ray installed, ClusterError for a cluster that cannot be reached or that fails, and
DeviceError for GPUs that it does not have.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import smca
from smca import telemetry
from smca.errors import ClusterError, ConfigurationError, DeviceError

BYTES_A_WORKER = 2 << 30
OBJECT_STORE_BYTES = 200 << 20
STARTS_THAT_MAY_FAIL = 3
SECONDS_TO_ANSWER = 10
DRIVER_ENVIRONMENT = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ENABLE_AUTO_CONNECT": "0",
}
# One arithmetic thread each. Freed memory is used again, as glibc's mallopt does it for the command itself.
WORKER_ENVIRONMENT = {
    **telemetry.SWITCHES,
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
}


@dataclass(frozen=True)
class Pool:
    """The workers of a batch: how many, and the cores and GPUs that each has."""

    workers: int
    cores: int
    gpus: int
    environment: dict[str, str]

    @property
    def device(self) -> str:
        """The device of each worker."""
        return "cuda" if self.gpus else "cpu"


@contextmanager
def session(address: str | None, workers: int | None, device: str | None) -> Iterator[Pool]:
    """Ray for the time of a block; a session that runs in this process already is used and left running."""
    need_ray()
    ray = _imported(own=address is None)
    running = ray.is_initialized()
    try:
        if not running:
            with _mute():
                _start(ray, address, workers)
        _quiet()
        yield _pool(ray, address, workers, device)
    except ray.exceptions.RayError as error:
        raise ClusterError(f"Ray failed: {last_line(error)}") from error
    finally:
        if not running:
            ray.shutdown()


def stream(items: list[dict[str, Any]], worker: type, job: Any, pool: Pool) -> Iterator[dict[str, Any]]:
    """Call workers, each made with `job`, with one item at a time, and yield what they return as it comes."""
    import ray.data

    dataset = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        worker,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(pool.workers, len(items))),
        fn_constructor_args=(job,),
        num_cpus=pool.cores,
        num_gpus=pool.gpus,
        runtime_env={"env_vars": pool.environment},
    )
    batches: Any = iter(dataset.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow"))
    with closing(batches):
        for batch in batches:
            yield from batch.to_pylist()


def need_ray() -> None:
    """Refuse to go on without Ray and what its Data needs."""
    if not all(importlib.util.find_spec(name) for name in ("ray", "pyarrow")):
        raise ConfigurationError("this needs Ray: pip install 'smca-detr[dist]'")


def _imported(own: bool) -> Any:
    """Ray, which reads the environment when it is imported.

    own: for a Ray on this machine alone. Others on the network are kept out of that by a token of this process; Ray
    would leave one in the home folder.
    """
    telemetry.switch_off()
    for name, value in DRIVER_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if own and "RAY_AUTH_MODE" not in os.environ and "ray" not in sys.modules:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    import ray
    import ray.data

    return ray


def _start(ray: Any, address: str | None, workers: int | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    try:
        if address is None:
            cores = max(_cores(), workers or 1)
            own = {"num_cpus": cores, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
            ray.init(address="local", **own, **quiet)
        else:
            _knock(address)
            ray.init(address=address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        reason = last_line(error)
        if address is None:
            raise ClusterError(f"Ray cannot be started on this machine: {reason}") from error
        advice = "one that asks for a token needs RAY_AUTH_MODE=token and the token here too"
        raise ClusterError(f"no Ray cluster at {address} ({advice}): {reason}") from error


def _knock(address: str) -> None:
    """Connect to HOST:PORT once, since Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), SECONDS_TO_ANSWER).close()


@contextmanager
def _mute() -> Iterator[None]:
    """Nothing on the process's standard error: what Ray's C++ says of its own start obeys no setting."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _quiet() -> None:
    """What Ray Data says of itself is no result."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_consecutive_actor_init_deaths = STARTS_THAT_MAY_FAIL
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _pool(ray: Any, address: str | None, workers: int | None, device: str | None) -> Pool:
    """One worker a GPU where there are any; else one a core, as far as the memory goes."""
    resources = ray.cluster_resources()
    cores, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
    environment = dict(WORKER_ENVIRONMENT)
    if address is None:
        paths = [str(Path(smca.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    if device == "cuda" and not gpus:
        raise DeviceError("no machine of Ray has a GPU; allowed here: cpu")
    if gpus and device != "cpu":
        return Pool(workers or gpus, max(1, min(8, cores // gpus)), 1, environment)
    memory = int(resources.get("memory", 0))
    return Pool(workers or max(1, min(cores, memory // BYTES_A_WORKER)), 1, 0, environment)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def last_line(error: Exception) -> str:
    """The last line of what an error says, or its kind."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
