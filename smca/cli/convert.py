"""`smca convert`: a public checkpoint -> a MODEL."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from smca.cli.parsing import Parser
from smca.cli.process import say, start


def add(parser: Parser) -> None:
    """Add the command to `parser`."""
    command = parser.add_command(
        "convert",
        "Turn a checkpoint of SMCA's authors, or of Facebook's DETR as a beginning, into a model folder.",
    )
    command.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a .pth or .safetensors file")
    command.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    command.set_defaults(run=run)


def run(arguments: Namespace) -> None:
    """Convert, and print what was found, what is new and where the model is."""
    start()
    from smca.interchange.convert import convert_file

    conversion = convert_file(arguments.checkpoint, arguments.out)
    config = conversion.model.config
    counts = f"{conversion.taken} tensors, {config.num_labels} classes, {config.num_queries} queries"
    say(f"{conversion.kind}: {counts}")
    if conversion.fresh:
        say(f"new, with initial values, to be trained: {len(conversion.fresh)} tensors")
        for name in conversion.fresh:
            say(f"  {name}")
    say(str(arguments.out))
