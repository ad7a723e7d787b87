"""`smca pretrain`: UP-DETR's pre-training on pictures without labels."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from smca.cli.parsing import Parser, at_least
from smca.cli.process import say, start


def add(parser: Parser) -> None:
    """Add the command to `parser`."""
    command = parser.add_command(
        "pretrain", "Pre-train a detector on pictures without labels (UP-DETR). Then: smca train DATA --init MODEL."
    )
    command.add_argument("images", nargs="+", metavar="IMAGES", help="pictures, folders of them, globs")
    command.add_argument("--recipe", required=True, help="of SMCA or DETR: the model, image size and learning rate")
    command.add_argument("--out", type=Path, required=True, metavar="MODEL", help="folder to write")
    command.add_argument("--epochs", type=at_least(int, 1), default=60, metavar="N", help="passes over the pictures")
    command.add_argument("--backbone-weights", metavar="none|imagenet|PATH", help="the backbone, which is frozen")
    command.add_argument("--image-size", type=at_least(int, 32), metavar="S", help="shorter side in pixels")
    command.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change the recipe")
    command.add_argument("--seed", type=at_least(int, 0), default=0, help="of weights, crops and order")
    command.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    command.set_defaults(run=run)


def run(arguments: Namespace) -> None:
    """Pre-train; the model's path is the last line."""
    start(network=arguments.backbone_weights in (None, "imagenet"))
    from smca.inference.sources import list_images
    from smca.training.launch import resolved_recipe
    from smca.training.pretraining import pretrain
    from smca.training.request import TrainRequest

    request = TrainRequest(
        data=Path(),
        recipe=arguments.recipe,
        image_size=arguments.image_size,
        backbone_weights=arguments.backbone_weights,
        overrides=tuple(arguments.set),
        seed=arguments.seed,
    )
    files = list_images(arguments.images)
    pretrain(files, resolved_recipe(request), arguments.epochs, arguments.out, arguments.seed, arguments.device)
    say(str(arguments.out))
