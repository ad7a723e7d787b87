"""`smca recipes`: every recipe with what it costs and what it reaches."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from smca.cli.parsing import Parser
from smca.cli.process import start

if TYPE_CHECKING:
    from smca.training.recipes import Recipe

FIELDS = ("name", "description", "paper_row", "expected_ap", "measured_by", "hardware", "hours", "command")


def add(parser: Parser) -> None:
    """Add the command to `parser`."""
    command = parser.add_command("recipes", "List every recipe: paper row, expected AP and who measured it, cost.")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the list for machines")
    command.set_defaults(run=run)


def run(arguments: Namespace) -> None:
    """Print the table, or write it as JSON."""
    start()
    from smca.files import write_json
    from smca.training.recipes import all_recipes

    found = all_recipes()
    _show(found)
    if arguments.json:
        write_json(arguments.json, [{field: getattr(recipe, field) for field in FIELDS} for recipe in found])


def _show(found: list[Recipe]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="bold")
    for recipe in found:
        table.add_row(recipe.name, Text.assemble(recipe.description, "\n", (_details(recipe), "dim")))
    console = Console(highlight=False)
    console.print(table)
    console.print("\ntrain one:  smca train DATA --recipe NAME")


def _details(recipe: Recipe) -> str:
    """What to expect of a recipe, on one line; what is not known is left out."""
    reaches = [] if recipe.expected_ap is None else [f"{recipe.expected_ap} AP expected ({recipe.measured_by})"]
    facts = [recipe.paper_row, *reaches, recipe.hardware, f"hours: {recipe.hours}"]
    return "; ".join(fact for fact in facts if not fact.endswith("-"))
