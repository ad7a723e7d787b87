"""`smca resume`: go on with a stopped run."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from smca.cli.parsing import Parser
from smca.cli.process import say, start


def add(parser: Parser) -> None:
    """Add the command to `parser`."""
    command = parser.add_command("resume", "Go on with a run exactly where it stopped.")
    command.add_argument("run_folder", type=Path, metavar="RUN", help="folder of `smca train`")
    command.set_defaults(run=run)


def run(arguments: Namespace) -> None:
    """Go on and print the run's folder."""
    start()
    from smca.training.launch import resume

    say(str(resume(arguments.run_folder)))
