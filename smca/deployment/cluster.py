"""Training on a cluster of Ray: the same work in several processes, which Ray Train places, connects and watches.

Each process learns its rank as torchrun would tell it. All see the folder where the command was given, which has to be
on storage that the machines share, as the data and the run have to be. A process that fails or dies ends all of them.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from threading import Event, Thread
from typing import Any

from smca.deployment.batch.session import Pool, last_line, session
from smca.errors import ClusterError, SmcaError

SECONDS_BETWEEN_LOOKS = 0.5


def on_ray(
    work: Callable[[], None],
    address: str,
    processes: int | None,
    device: str | None,
    patience: int,
    shared: Path,
    say: Callable[[str], None],
) -> None:
    """Do `work` in `processes` processes: one a GPU unless said, or one a core. What the first prints is said here.

    address: "local" for this machine alone, "auto" or HOST:PORT for a cluster. patience: seconds that one process waits
    for another. shared: a folder that all machines see, for notes meanwhile.
    Raises the SmcaError of a process, else ClusterError, and ConfigurationError where Ray is not installed.
    """
    notes = shared / f".ray-{uuid.uuid4().hex[:8]}"
    with session(None if address == "local" else address, processes, device) as pool:
        notes.mkdir(parents=True)
        try:
            with _relayed(notes / "said", say):
                _fit(_Process(work, Path.cwd(), notes / "said"), pool, patience, notes)
        finally:
            shutil.rmtree(notes, ignore_errors=True)


def _fit(process: _Process, pool: Pool, patience: int, notes: Path) -> None:
    import ray.train.torch

    api: Any = ray.train  # it has two generations of each type
    environment = {key: value for key, value in pool.environment.items() if key != "HF_HUB_OFFLINE"}
    resources = {"CPU": pool.cores, **({"GPU": pool.gpus} if pool.gpus else {})}
    trainer = api.torch.TorchTrainer(
        process,
        torch_config=api.torch.TorchConfig("nccl" if pool.gpus else "gloo", timeout_s=patience),
        scaling_config=api.ScalingConfig(
            num_workers=pool.workers, use_gpu=bool(pool.gpus), resources_per_worker=resources
        ),
        run_config=api.RunConfig(name="ray", storage_path=str(notes), worker_runtime_env={"env_vars": environment}),
    )
    try:
        trainer.fit()
    except api.TrainingFailedError as error:
        raise _reason(error) from error


class _Process:
    """What one process does."""

    def __init__(self, work: Callable[[], None], folder: Path, said: Path) -> None:
        self.work, self.folder, self.said = work, folder, said

    def __call__(self) -> None:
        import ray.train

        place = ray.train.get_context()
        ranks = {"RANK": place.get_world_rank(), "LOCAL_RANK": place.get_local_rank()}
        sizes = {"WORLD_SIZE": place.get_world_size(), "LOCAL_WORLD_SIZE": place.get_local_world_size()}
        os.environ.update({key: str(value) for key, value in (ranks | sizes).items()})
        for needed in (self.folder, self.said):
            if not needed.exists():
                raise ClusterError(f"a machine of the cluster does not see {needed}: work on storage that all share")
        os.chdir(self.folder)
        out = self.said if ranks["RANK"] == 0 else Path(os.devnull)
        with out.open("a", buffering=1) as file, redirect_stdout(file):
            self.work()


@contextmanager
def _relayed(file: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Say line by line what is written to `file` during the block."""
    file.touch()
    over = Event()

    def follow() -> None:
        with file.open() as lines:
            while True:
                last = over.wait(SECONDS_BETWEEN_LOOKS)
                for line in lines:
                    say(line.rstrip("\n"))
                if last:
                    return

    thread = Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _reason(error: Exception) -> SmcaError:
    """The first mistake of a user among the processes' failures, else the first failure in one line."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    for failure in failures.values():
        if isinstance(failure, SmcaError):
            return failure
    for rank, failure in failures.items():
        return ClusterError(f"training stopped: process {rank} failed: {type(failure).__name__}: {last_line(failure)}")
    return ClusterError(f"training stopped: {last_line(error)}")
