"""Training here, or in the processes of a Ray cluster: --ray and --processes."""

from __future__ import annotations

from argparse import Namespace, _ActionsContainer
from collections.abc import Callable
from functools import partial
from pathlib import Path

from smca.cli.parsing import at_least
from smca.cli.process import say, start
from smca.errors import ConfigurationError


def add_ray(command: _ActionsContainer) -> None:
    """Add the options."""
    command.add_argument("--ray", metavar="ADDRESS", help="use a Ray cluster: local (this machine), auto, HOST:PORT")
    command.add_argument(
        "--processes", type=at_least(int, 1), metavar="N", help="of --ray (default: one a GPU, else one a core)"
    )


def check_ray(arguments: Namespace) -> None:
    """Refuse --processes alone."""
    if arguments.processes and not arguments.ray:
        raise ConfigurationError(
            f"--processes goes with --ray; without it: torchrun --nproc-per-node {arguments.processes} -m smca ..."
        )


def run_anywhere(
    arguments: Namespace, work: Callable[[], Path], device: str | None, run: Path | None, network: bool
) -> None:
    """Do `work`, which writes the folder `run`, and say what it returns: here, or in the processes of --ray."""
    if not arguments.ray:
        say(str(work()))
        return
    from smca.deployment.cluster import on_ray
    from smca.training.launch import SECONDS_TO_WAIT

    shared = run.resolve().parent if run else Path.cwd()
    process = partial(_in_process, work, network)
    on_ray(process, arguments.ray, arguments.processes, device, SECONDS_TO_WAIT, shared, say)


def _in_process(work: Callable[[], Path], network: bool) -> None:
    start(network)
    say(str(work()))
