"""`smca compare`: every system of the paper's tables, trained alike on one data set."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from smca.cli.parsing import Parser, add_format, at_least, fraction
from smca.cli.process import say, start


def add(parser: Parser) -> None:
    """Add the command to `parser`."""
    command = parser.add_command(
        "compare", "Train several systems alike and compare them. Stopped, the same command goes on."
    )
    command.add_argument("data", type=Path, metavar="DATA", help="folder or file of a data set")
    command.add_argument("--models", metavar="A,B,...", help="systems, or recipe files (default: all systems)")
    command.add_argument("--size", choices=("tiny", "small", "r50", "r101"), default="tiny", help="of every system")
    command.add_argument("--epochs", type=at_least(int, 1), metavar="N", help="of every run (default: the size's)")
    command.add_argument("--seeds", type=at_least(int, 1), default=1, metavar="S", help="runs of each: seeds 0 to S-1")
    command.add_argument("--out", type=Path, metavar="DIR", help="folder to write (default: runs/compare-DATA)")
    command.add_argument("--image-size", type=at_least(int, 32), metavar="S", help="shorter side in pixels")
    command.add_argument("--val-fraction", type=fraction, default=0.0, metavar="F", help="part of train used as val")
    add_format(command)
    command.add_argument("--backbone-weights", metavar="none|imagenet|PATH", help="where every backbone starts")
    command.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="[NAME:]KEY=VALUE",
        help="change every recipe, or the one of a system",
    )
    command.add_argument(
        "--pretrain-epochs", type=at_least(int, 1), default=10, metavar="N", help="of up-detr on DATA's train images"
    )
    command.add_argument("--workers", type=at_least(int, 0), metavar="N", help="loader processes")
    command.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    command.set_defaults(run=run)


def run(arguments: Namespace) -> None:
    """Compare; the table's path is the last line."""
    start(network=arguments.backbone_weights == "imagenet")
    from smca.comparison.folder import ComparisonRequest
    from smca.comparison.harness import Comparison
    from smca.training.recipes.contestants import CONTESTANTS

    request = ComparisonRequest(
        data=arguments.data,
        models=tuple(arguments.models.split(",")) if arguments.models else CONTESTANTS,
        size=arguments.size,
        epochs=arguments.epochs,
        seeds=arguments.seeds,
        overrides=tuple(arguments.set),
        image_size=arguments.image_size,
        backbone_weights=arguments.backbone_weights,
        workers=arguments.workers,
        device=arguments.device,
        val_fraction=arguments.val_fraction,
        format=arguments.format,
        pretrain_epochs=arguments.pretrain_epochs,
    )
    out = arguments.out or Path("runs") / f"compare-{arguments.data.resolve().stem}"
    say(str(Comparison(request, out).run() / "table.md"))
