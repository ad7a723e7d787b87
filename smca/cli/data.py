"""`smca data`: commands about data sets."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from smca.cli.parsing import Parser, add_format, at_least, image_size
from smca.cli.process import say, start
from smca.sizes import ImageSize


def add(parser: Parser) -> None:
    """Add the command and its sub-commands to `parser`."""
    data = parser.add_command("data", "Make, check and convert data sets.")
    _add_check(data)
    _add_convert(data)
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


def _add_check(data: Parser) -> None:
    command = data.add_command("check", "Examine a data set: what is wrong with it, what is in it, what suits it.")
    command.add_argument("data", type=Path, metavar="DATA", help="folder or file of a data set")
    add_format(command)
    command.add_argument("--report", type=Path, metavar="DIR", help="write an HTML page with pictures")
    command.add_argument("--fix", type=Path, metavar="OUT", help="write a repaired copy, in the COCO format")
    command.add_argument(
        "--overfit",
        type=at_least(int, 1),
        metavar="N",
        help="learn N pictures by heart: does anything learn? (minutes)",
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers for machines")
    command.set_defaults(run=run_check)


def run_check(arguments: Namespace) -> None:
    """Examine; findings first, the advice last."""
    start()
    from smca.data.conversion import write_splits
    from smca.doctor import advice, check, findings, numbers, size_rows, split_rows, write_page
    from smca.files import write_json

    checkup = check(arguments.data, arguments.format)
    for name, images, boxes, most in split_rows(checkup):
        say(f"{name}: {images} images, {boxes} boxes, at most {most} in one")
    say("objects at the advised size: " + ", ".join(f"{count} {title}" for title, count in size_rows(checkup)))
    for line in findings(checkup) or ("nothing to mend",):
        say(f"- {line}")
    if arguments.report:
        say(f"wrote {write_page(checkup, arguments.report)}")
    known = numbers(checkup)
    if arguments.overfit:
        from smca.training.overfit import LEARNED, overfit

        known["overfit_AP"] = reached = overfit(arguments.data, arguments.overfit, arguments.format)
        verdict = "it learns" if reached >= LEARNED else "it does not learn: look at the pictures (--report) and labels"
        say(f"learned {arguments.overfit} pictures by heart: AP {reached:.3f} ({LEARNED} is expected); {verdict}")
    if arguments.json:
        write_json(arguments.json, known)
    if arguments.fix:
        write_splits(checkup.splits, arguments.fix, "coco")
        say(f"wrote {arguments.fix}")
    say(f"begin with: {advice(checkup)}")


def _add_convert(data: Parser) -> None:
    command = data.add_command("convert", "Write a data set of one format (COCO, VOC, YOLO) in another.")
    command.add_argument("data", type=Path, metavar="DATA", help="folder or file of a data set")
    command.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    command.add_argument("--to", choices=("coco", "voc", "yolo"), required=True, help="format to write")
    add_format(command)
    command.add_argument("--strict", action="store_true", help="stop at missing or unreadable images")
    command.set_defaults(run=run_convert)


def run_convert(arguments: Namespace) -> None:
    """Convert every split; a line for each, and for what was skipped or changed."""
    start()
    from smca.data.conversion import convert
    from smca.progress import Progress

    with Progress("copying") as progress:
        lines = convert(arguments.data, arguments.out, arguments.to, arguments.format, arguments.strict, step=progress)
    for line in lines:
        say(line)
    say(f"wrote {arguments.out}")


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
