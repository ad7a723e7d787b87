"""`smca predict`: detections in images, as pictures and as JSON."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from smca.cli.parsing import Parser, at_least, fraction
from smca.cli.process import say, start


def add(parser: Parser) -> None:
    """Add the command to `parser`."""
    command = parser.add_command("predict", "Detect objects in images. Writes drawn pictures and predictions.json.")
    command.add_argument("model", type=Path, metavar="MODEL", help="model folder or exported file")
    command.add_argument("sources", nargs="+", metavar="SOURCE", help="images, folders, globs")
    command.add_argument("--out", type=Path, default=Path("runs/predict"), metavar="DIR", help="folder to write")
    command.add_argument("--threshold", type=fraction, metavar="T", help="lowest score (default: the model's own)")
    command.add_argument("--batch", type=at_least(int, 1), default=1, metavar="N", help="images at once")
    command.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    command.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="bf16 is faster and rounds")
    command.add_argument("--compile", action="store_true", help="torch.compile: minutes at first, for many images")
    command.set_defaults(run=run)


def run(arguments: Namespace) -> None:
    """Predict and print where the results are."""
    start()
    from smca.inference.command import predict_files

    predict_files(
        arguments.model,
        arguments.sources,
        arguments.out,
        threshold=arguments.threshold,
        batch=arguments.batch,
        device=arguments.device,
        precision=arguments.precision,
        compile=arguments.compile,
    )
    say(str(arguments.out / "predictions.json"))
