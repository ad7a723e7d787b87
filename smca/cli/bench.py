"""`smca bench`: speed as ratios in one run."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from smca.cli.parsing import Parser, at_least
from smca.cli.process import say, start


def add(parser: Parser) -> None:
    """Add the command to `parser`."""
    command = parser.add_command(
        "bench", "Measure speed against plain attention and peers, as ratios in one run. Groups: see --group."
    )
    command.add_argument(
        "--group", action="append", metavar="NAME", help="attention, loss, loader, models, models-tiny (default: all)"
    )
    command.add_argument(
        "--rounds", type=at_least(int, 2), default=7, metavar="N", help="how often each pair is timed, at least"
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers for machines")
    command.add_argument("--out", type=Path, metavar="DIR", help="write speed.json, speed.md and speed.png")
    command.set_defaults(run=run)


def run(arguments: Namespace) -> None:
    """Measure, saying each number as it comes."""
    start()
    from smca.benchmark.suite import GROUPS, Suite, verdict, write_report
    from smca.files import write_json

    suite = Suite(arguments.rounds, say)
    results = suite.run(arguments.group or GROUPS)
    for amount in suite.amounts:
        say(f"{amount.group}: {amount.what} = {amount.value:.1f} {amount.unit}{verdict(amount)} ({amount.setting})")
    if arguments.json:
        write_json(arguments.json, results)
    if arguments.out:
        write_report(arguments.out, results)
