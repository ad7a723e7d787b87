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
COLUMNS = {"recipe": 25, "paper row": 18, "AP": 4, "measured by": 10, "hardware": 8, "hours": 5}  # at 80 in all
WIDE = 110
NOTES = (
    "AP: on COCO 2017 val, measured by who is named and not here; (recalled): nobody here could confirm it.",
    "Hours: on that hardware; the paper's rows computed from multiply-adds at the rate of its authors' trainings.",
    "Train one: smca train DATA --recipe NAME; its size: smca info NAME",
)


def add(parser: Parser) -> None:
    """Add the command to `parser`."""
    command = parser.add_command("recipes", "List every recipe: paper row, expected AP and who measured it, cost.")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the list for machines")
    command.set_defaults(run=run)


def run(arguments: Namespace) -> None:
    """Print the table, or write it as JSON."""
    start()
    from smca.files import write_json
    from smca.training.recipes import GROUPS

    groups = {title: [make() for make in makers] for title, makers in GROUPS.items()}
    _show(groups)
    if arguments.json:
        found = [recipe for recipes in groups.values() for recipe in recipes]
        write_json(arguments.json, [{field: getattr(recipe, field) for field in FIELDS} for recipe in found])


def _show(groups: dict[str, list[Recipe]]) -> None:
    """About a line a recipe where the terminal is wide, else two or three in columns of fixed width."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    narrow = console.width < WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column, width in COLUMNS.items():
        side = "right" if column in ("AP", "hours") else "left"
        table.add_column(column, min_width=width, max_width=width if narrow else None, justify=side)
    for title, recipes in groups.items():
        table.add_row()
        table.add_row(f"[bold]{title}[/bold]")
        for recipe in recipes:
            table.add_row(*_cells(recipe, narrow))
    console.print(table, crop=False)
    console.print("", *NOTES, sep="\n")


def _cells(recipe: Recipe, narrow: bool) -> tuple[str, ...]:
    """One recipe's row; recipes of ours have no row of the paper and say what they are."""
    what = recipe.description if recipe.paper_row == "-" else recipe.paper_row
    ap = "-" if recipe.expected_ap is None else f"{recipe.expected_ap:.1f}"
    row = what.replace(" (", "\n(") if narrow else what
    return (recipe.name, row, ap, recipe.measured_by, recipe.hardware, recipe.hours.partition(" ")[0])
