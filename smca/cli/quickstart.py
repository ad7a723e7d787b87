"""`smca quickstart`: the whole job on generated data."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from smca.cli.parsing import Parser, at_least
from smca.cli.process import say, start


def add(parser: Parser) -> None:
    """Add the command to `parser`."""
    command = parser.add_command(
        "quickstart",
        "Do the whole job on generated data: train, evaluate, predict, explain. No download.",
    )
    command.add_argument("--out", type=Path, default=Path("runs/quickstart"), help="folder to write")
    command.add_argument("--seed", type=at_least(int, 0), default=0, help="seed of data and training")
    command.set_defaults(run=run)


def run(arguments: Namespace) -> None:
    """Run the whole job; the last line is the path of its page."""
    start()
    from smca.quickstart import quickstart

    say(str(quickstart(arguments.out, arguments.seed)))
