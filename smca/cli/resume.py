"""`smca resume`: go on with a stopped run."""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from pathlib import Path

from smca.cli.cluster import add_ray, check_ray, run_anywhere
from smca.cli.parsing import Parser
from smca.cli.process import start


def add(parser: Parser) -> None:
    """Add the command to `parser`."""
    command = parser.add_command("resume", "Go on with a run exactly where it stopped.")
    command.add_argument("run_folder", type=Path, metavar="RUN", help="folder of `smca train`")
    add_ray(command)
    command.set_defaults(run=run)


def run(arguments: Namespace) -> None:
    """Go on and print the run's folder."""
    check_ray(arguments)
    start()
    from smca.training.launch import resume
    from smca.training.run_folder import RunFolder

    run = arguments.run_folder
    device = RunFolder(run).read_request().device if arguments.ray else None
    run_anywhere(arguments, partial(resume, run), device, run, network=False)
