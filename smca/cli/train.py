"""`smca train`: a recipe on a data set."""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from smca.cli.cluster import add_ray, check_ray, run_anywhere
from smca.cli.parsing import Parser, above, add_format, at_least, fraction
from smca.cli.process import say, start

if TYPE_CHECKING:
    from smca.training.request import TrainRequest


def add(parser: Parser) -> None:
    """Add the command to `parser`."""
    command = parser.add_command("train", "Train a detector on a data set. RUN/best and RUN/last are models.")
    command.add_argument("data", type=Path, metavar="DATA", help="folder or file of a data set")
    command.add_argument("--recipe", help="a name from `smca recipes`, or a YAML file (default: fine-tune --init)")
    command.add_argument("--out", type=Path, metavar="RUN", help="folder to write (default: runs/DATA-RECIPE)")
    _add_schedule(command)
    _add_model(command)
    _add_process(command)
    command.set_defaults(run=run)


def _add_schedule(command: Parser) -> None:
    group = command.add_argument_group("schedule and data (default: the recipe's)")
    group.add_argument("--epochs", type=at_least(int, 1), metavar="N", help="the schedule scales with it")
    group.add_argument("--batch", type=at_least(int, 1), metavar="N", help="images an update, over all devices")
    group.add_argument("--lr", type=above(0), metavar="X", help="learning rate of everything but the backbone")
    group.add_argument("--image-size", type=at_least(int, 32), metavar="S", help="shorter side in pixels")
    group.add_argument("--val-fraction", type=fraction, default=0.0, metavar="F", help="part of train used as val")
    add_format(group)
    group.add_argument("--strict", action="store_true", help="stop at missing or unreadable images")


def _add_model(command: Parser) -> None:
    group = command.add_argument_group("model")
    group.add_argument("--init", metavar="MODEL", help="start from a MODEL, a checkpoint or a hub's, classes by name")
    group.add_argument("--backbone-weights", metavar="none|imagenet|PATH", help="where the backbone starts")
    group.add_argument("--freeze", action="append", default=[], metavar="PART", help="part that stays as it is")
    group.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change the recipe")


def _add_process(command: Parser) -> None:
    group = command.add_argument_group("process")
    group.add_argument("--precision", choices=("fp32", "bf16", "fp16"), help="arithmetic (default: the recipe's)")
    group.add_argument("--compile", action="store_true", help="torch.compile: minutes at first, then faster on a GPU")
    group.add_argument("--workers", type=at_least(int, 0), metavar="N", help="loader processes")
    group.add_argument(
        "--report-to",
        nargs="+",
        default=["tensorboard"],
        metavar="NAME",
        help="trackers: tensorboard, wandb, mlflow ...",
    )
    group.add_argument("--seed", type=at_least(int, 0), default=0, help="seed of weights and data order")
    group.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    add_ray(group)
    group.add_argument("--fsdp", action="store_true", help="shard weights and optimiser over the processes")
    group.add_argument("--dry-run", action="store_true", help="check data, model and memory, then stop")
    group.add_argument("--print_config", action="store_true", help="print the recipe as YAML, then stop")


def run(arguments: Namespace) -> None:
    """Train, or print the resolved recipe."""
    check_ray(arguments)
    asks = arguments.backbone_weights in (None, "imagenet") or arguments.init or arguments.report_to != ["tensorboard"]
    start(network=bool(asks))
    from smca.training.launch import resolved_recipe, resolved_yaml, train

    request = _request(arguments)
    if arguments.print_config:
        say(resolved_yaml(request))
        return
    if arguments.ray:
        resolved_recipe(request)  # what it refuses is refused before Ray starts
    run_anywhere(arguments, partial(train, request), request.device, request.out, bool(asks))


def _request(arguments: Namespace) -> TrainRequest:
    from smca.training.request import TrainRequest

    return TrainRequest(
        data=arguments.data,
        recipe=arguments.recipe,
        out=arguments.out,
        epochs=arguments.epochs,
        batch=arguments.batch,
        lr=arguments.lr,
        image_size=arguments.image_size,
        init=arguments.init,
        backbone_weights=arguments.backbone_weights,
        freeze=tuple(arguments.freeze),
        precision=arguments.precision,
        compile=arguments.compile,
        workers=arguments.workers,
        overrides=tuple(arguments.set),
        seed=arguments.seed,
        device=arguments.device,
        dry_run=arguments.dry_run,
        strict=arguments.strict,
        val_fraction=arguments.val_fraction,
        format=arguments.format,
        report_to=tuple(arguments.report_to),
        fsdp=arguments.fsdp,
    )
