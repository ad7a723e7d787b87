"""`smca data`: commands about data sets."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from smca.cli.parsing import Parser, at_least, image_size
from smca.cli.process import say, start
from smca.sizes import ImageSize


def add(parser: Parser) -> None:
    """Add the command and its sub-commands to `parser`."""
    data = parser.add_command("data", "Make data sets.")
    scenes = data.add_command(
        "scenes", "Generate a COCO-format data set of digits or shapes. The seed decides every bit."
    )
    scenes.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    scenes.add_argument("--images", type=at_least(int, 5), required=True, metavar="N", help="how many, val included")
    scenes.add_argument(
        "--val-images", type=at_least(int, 1), metavar="N", help="how many of them for val (default: a fifth)"
    )
    scenes.add_argument("--seed", type=at_least(int, 0), default=0, help="another seed, another data set")
    scenes.add_argument(
        "--size", type=image_size, default=ImageSize(320, 320), metavar="HEIGHTxWIDTH", help="image size"
    )
    scenes.add_argument("--glyphs", choices=("digits", "shapes"), default="digits", help="what to detect")
    scenes.set_defaults(run=run_scenes)


def run_scenes(arguments: Namespace) -> None:
    """Generate the data set; val gets one fifth, at least four images, unless said otherwise."""
    start()
    from smca.data.scenes import make_scenes
    from smca.progress import Progress

    with Progress("drawing scenes") as progress:
        make_scenes(
            arguments.out,
            images=arguments.images,
            seed=arguments.seed,
            size=arguments.size,
            glyphs=arguments.glyphs,
            val_images=arguments.val_images,
            progress=progress,
        )
    say(f"wrote {arguments.out}")
