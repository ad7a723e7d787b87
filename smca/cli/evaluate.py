"""`smca eval`: the twelve COCO numbers of a model on a data set."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from smca.cli.parsing import Parser, add_format, at_least
from smca.cli.process import say, start

if TYPE_CHECKING:
    from smca.evaluation.coco import Summary


def add(parser: Parser) -> None:
    """Add the command to `parser`."""
    command = parser.add_command(
        "eval", "Evaluate a model on a data set with the twelve COCO numbers and AP per class."
    )
    command.add_argument("model", type=Path, metavar="MODEL", help="model folder or exported file")
    command.add_argument("data", type=Path, metavar="DATA", help="folder or file of a data set")
    command.add_argument("--split", choices=("train", "val", "test"), default="val", help="which part of the data")
    add_format(command)
    command.add_argument("--batch", type=at_least(int, 1), default=4, metavar="N", help="images at once")
    command.add_argument("--workers", type=at_least(int, 0), default=2, metavar="N", help="loader processes")
    command.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    command.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="bf16 is faster and rounds")
    command.add_argument("--compile", action="store_true", help="torch.compile: minutes at first, for many images")
    command.add_argument("--strict", action="store_true", help="stop at missing or unreadable images")
    command.add_argument("--json", type=Path, metavar="FILE", help="write all numbers for machines")
    command.add_argument(
        "--report", type=Path, metavar="DIR", help="write an HTML report: curves, confusions, errors, pictures"
    )
    command.set_defaults(run=run)


def run(arguments: Namespace) -> None:
    """Evaluate, print the table and write what was asked for."""
    start()
    from smca.evaluation.command import evaluate_model
    from smca.evaluation.variation import ADVICE, is_blind
    from smca.inference.loading import load

    summary = evaluate_model(
        load(arguments.model, arguments.device, arguments.precision, arguments.compile),
        arguments.data,
        split=arguments.split,
        batch=arguments.batch,
        workers=arguments.workers,
        strict=arguments.strict,
        format=arguments.format,
        report=arguments.report,
        numbers=arguments.json,
    )
    _show(summary)
    if is_blind(summary["variation"]):
        say(ADVICE)
    if arguments.report:
        say(f"report: {arguments.report / 'index.html'}")


def _show(summary: Summary) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from smca.evaluation.report import class_rows, number_rows

    numbers = Table(box=None, pad_edge=False, show_header=False)
    for key, value, meaning in number_rows(summary):
        numbers.add_row(f"[bold]{key}[/bold]", value, f"[dim]{meaning}[/dim]")
    classes = Table("class", "AP, %", box=None, pad_edge=False, header_style="bold")
    for name, value in class_rows(summary):
        classes.add_row(Text(name), value)
    console = Console(highlight=False)
    console.print(numbers)
    console.print()
    console.print(classes)
