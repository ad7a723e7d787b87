"""`smca explain`: where each detection's query looked."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from smca.cli.parsing import Parser, at_least, fraction
from smca.cli.process import say, start


def add(parser: Parser) -> None:
    """Add the command to `parser`."""
    command = parser.add_command(
        "explain",
        "Show where the query of each detection looked. Draws spreads, weight maps, attention with and without them, "
        "and scale weights, and writes them as explain.json and explain.npz.",
    )
    command.add_argument("model", type=Path, metavar="MODEL", help="model folder")
    command.add_argument("image", type=Path, metavar="IMAGE", help="image file")
    command.add_argument("--out", type=Path, default=Path("runs/explain"), metavar="DIR", help="folder to write")
    command.add_argument("--threshold", type=fraction, metavar="T", help="lowest score (default: the model's own)")
    command.add_argument("--most", type=at_least(int, 1), default=8, metavar="N", help="how many detections at most")
    command.set_defaults(run=run)


def run(arguments: Namespace) -> None:
    """Explain and print where the pictures are."""
    start()
    from smca.inference.explain import explain_file

    explanation = explain_file(arguments.model, arguments.image, arguments.out, arguments.threshold, arguments.most)
    if explanation.shortfall:
        say(explanation.shortfall)
    say(str(arguments.out / "overview.png"))
