"""`smca predict`: detections in images and videos, drawn and as JSON."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from pathlib import Path

from smca.cli.parsing import Parser, at_least, fraction
from smca.cli.process import say, start

SOURCES = "images, videos, folders, globs, URLs (http, https), webcam or webcam:N (until Ctrl-C; N counts from 0)"


def add(parser: Parser) -> None:
    """Add the command to `parser`."""
    description = "Detect objects in images and videos. Writes them drawn, and predictions.json."
    command = parser.add_command("predict", description)
    command.add_argument("model", type=Path, metavar="MODEL", help="model folder or exported file")
    command.add_argument("sources", nargs="+", metavar="SOURCE", help=SOURCES)
    command.add_argument("--out", type=Path, default=Path("runs/predict"), metavar="DIR", help="folder to write")
    command.add_argument("--threshold", type=fraction, metavar="T", help="lowest score (default: the model's own)")
    command.add_argument(
        "--tile",
        nargs="?",
        type=_pixels,
        const=True,
        default=False,
        metavar="PIXELS",
        help="see large images in overlapping tiles too, of so many pixels a side (default: the model's own size)",
    )
    command.add_argument("--track", action="store_true", help="number the objects of videos (ByteTrack)")
    command.add_argument("--frames", type=at_least(int, 1), metavar="N", help="at most, of each video (default: all)")
    command.add_argument("--batch", type=at_least(int, 1), default=1, metavar="N", help="images at once")
    command.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    command.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="bf16 is faster and rounds")
    command.add_argument("--compile", action="store_true", help="torch.compile: minutes at first, for many images")
    command.set_defaults(run=run)


def run(arguments: Namespace) -> None:
    """Predict and print where the results are."""
    start()
    from smca.inference.command import VideoOptions, predict_files

    predict_files(
        arguments.model,
        arguments.sources,
        arguments.out,
        threshold=arguments.threshold,
        tile=arguments.tile,
        video=VideoOptions(track=arguments.track, most_frames=arguments.frames),
        batch=arguments.batch,
        device=arguments.device,
        precision=arguments.precision,
        compile=arguments.compile,
    )
    say(str(arguments.out / "predictions.json"))


def _pixels(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"'{text}' is not a number of pixels; without one, put --tile behind the sources")
    return int(text)
