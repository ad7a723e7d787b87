"""`smca batch`: millions of images, from a tree or Parquet into Parquet."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from smca.cli.parsing import Parser, at_least, fraction
from smca.cli.process import say, start


def add(parser: Parser) -> None:
    """Add the command to `parser`."""
    command = parser.add_command(
        "batch",
        "Detect objects in millions of images on Ray. Writes Parquet with a row for each image, bad ones too; the same "
        "command again goes on where it stopped, and predicts what has come in since.",
    )
    command.add_argument("model", type=Path, metavar="MODEL", help="model folder or exported file")
    command.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder of images, or Parquet with a column path or bytes (and id), or a glob",
    )
    command.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    command.add_argument("--threshold", type=fraction, metavar="T", help="lowest score (default: the model's own)")
    command.add_argument("--batch", type=at_least(int, 1), default=1, metavar="N", help="images at once in a worker")
    command.add_argument(
        "--shard", type=at_least(int, 1), metavar="N", help="images a file of OUT (default: 16 at first, later 1024)"
    )
    command.add_argument(
        "--workers", type=at_least(int, 1), metavar="N", help="processes (default: one a GPU, else one a core)"
    )
    command.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    command.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="bf16 is faster and rounds")
    command.add_argument("--address", metavar="A", help="of a Ray cluster: auto, HOST:PORT (default: this machine)")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers for machines")
    command.set_defaults(run=run)


def run(arguments: Namespace) -> None:
    """Predict, and say how many images, how fast and what was wrong."""
    start()
    from smca.deployment.batch.session import need_ray

    need_ray()
    from smca.deployment.batch.command import BatchRequest, predict_everything
    from smca.files import write_json

    report = predict_everything(
        BatchRequest(
            model=arguments.model,
            source=arguments.source,
            out=arguments.out,
            threshold=arguments.threshold,
            batch=arguments.batch,
            shard=arguments.shard,
            workers=arguments.workers,
            device=arguments.device,
            precision=arguments.precision,
            address=arguments.address,
        ),
        say,
    )
    for line in report.lines():
        say(line)
    if arguments.json:
        write_json(arguments.json, report.to_json())
    say(str(arguments.out))
