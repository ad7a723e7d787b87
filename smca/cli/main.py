"""The `smca` command: builds the parser, runs one command and turns errors into exit statuses.

Exit status: 0 on success, 2 for a user's mistake (one line on stderr), 130 on Ctrl-C, 1 for a defect.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

from smca.cli import (
    batch,
    bench,
    compare,
    convert,
    data,
    evaluate,
    explain,
    export,
    info,
    predict,
    pretrain,
    quickstart,
    recipes,
    resume,
    serve,
    train,
)
from smca.cli.failures import outside
from smca.cli.parsing import Parser, new_parser
from smca.cli.process import complain
from smca.errors import SmcaError, printable

DESCRIPTION = "SMCA: a DETR detector with spatially modulated co-attention, to train, use and study."


def build_parser() -> Parser:
    """Return the parser of the whole command line, commands in the order of use."""
    parser = new_parser("smca", DESCRIPTION)
    quickstart.add(parser)
    recipes.add(parser)
    info.add(parser)
    data.add(parser)
    train.add(parser)
    resume.add(parser)
    pretrain.add(parser)
    evaluate.add(parser)
    predict.add(parser)
    batch.add(parser)
    explain.add(parser)
    serve.add(parser)
    convert.add(parser)
    export.add(parser)
    compare.add(parser)
    bench.add(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv` (default: the process's own words) and return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = build_parser().parse(words)
        arguments.run(arguments)
    except KeyboardInterrupt:
        print("smca: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        message = str(error) if isinstance(error, SmcaError) else outside(error)
        if message is None:
            raise
        if "--debug" in words:
            traceback.print_exc()
        complain(f"smca: {printable(message)}")
        return 2
    return 0
