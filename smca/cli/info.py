"""`smca info`: parameters, operations and memory of a recipe's or a folder's model."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from smca.cli.parsing import Parser, image_size
from smca.cli.process import start

NOTE = (
    "Memory: of one image, in float32. Activations: what the backward pass needs, each tensor once, where it is first "
    "kept; unfused: where attention has no fused kernel, as on a CPU while attention_dropout is above 0. Training: "
    "weights, gradients and AdamW's moments, without activations. Inference: weights and the most alive at once."
)


def add(parser: Parser) -> None:
    """Add the command to `parser`."""
    command = parser.add_command("info", "Show parameters, multiply-adds and memory, in total and per part.")
    command.add_argument("target", metavar="RECIPE|MODEL", help="a recipe's name, a recipe file or a model")
    command.add_argument(
        "--size", type=image_size, metavar="HEIGHTxWIDTH", help="image size (default: the model's own)"
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers for machines")
    command.set_defaults(run=run)


def run(arguments: Namespace) -> None:
    """Print the numbers as a table, or write them as JSON too."""
    start()
    from smca.files import write_json
    from smca.training.info import describe

    numbers = describe(arguments.target, arguments.size)
    _show(arguments.target, numbers)
    if arguments.json:
        write_json(arguments.json, numbers)


def _show(target: str, numbers: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    totals = {key: value for key, value in numbers.items() if key != "parts"}
    columns = list(dict.fromkeys(key for part in numbers["parts"].values() for key in part))
    table = Table("part", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    for name, part in numbers["parts"].items():
        table.add_row(name, *(_readable(part.get(column)) for column in columns))
    console = Console(highlight=False)
    console.print(f"[bold]{target}[/bold]")
    for key, value in totals.items():
        console.print(f"{key.replace('_', ' '):{max(map(len, totals)) + 2}}{_readable(value)}")
    console.print("", table, "", NOTE, sep="\n")


def _readable(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str("-" if value is None else value)
