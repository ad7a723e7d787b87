"""`smca export`: a model as one file for other runtimes, verified."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from smca.cli.parsing import Parser, fraction
from smca.cli.process import say, start

if TYPE_CHECKING:
    from smca.deployment.export.command import ExportReport

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}


def add(parser: Parser) -> None:
    """Add the command to `parser`."""
    command = parser.add_command(
        "export",
        "Export a model to ONNX, OpenVINO or torch.export and verify it on images. The file takes batches and images "
        "of any size, holds class names and preprocessing, and is a MODEL for predict and eval. Refused if AP falls.",
    )
    command.add_argument("model", type=Path, metavar="MODEL", help="model folder")
    command.add_argument("--format", choices=tuple(SUFFIXES), required=True, help="what to write")
    command.add_argument(
        "--out", type=Path, metavar="FILE", help="file to write (default: runs/export/NAME-PRECISION and a suffix)"
    )
    command.add_argument(
        "--precision", choices=("fp32", "bf16", "int8"), default="fp32", help="bf16: torch alone; int8: onnx, openvino"
    )
    command.add_argument("--data", type=Path, metavar="DATA", help="verify AP on its val split; int8 needs it")
    command.add_argument(
        "--data-format", choices=("coco", "voc", "yolo"), help="of DATA (default: recognised by itself)"
    )
    command.add_argument(
        "--images", nargs="+", default=[], metavar="SOURCE", help="images to compare on where there is no DATA"
    )
    command.add_argument(
        "--max-ap-loss", type=fraction, metavar="X", help="AP it may lose (default: .005 for fp32, else .01)"
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers for machines")
    command.set_defaults(run=run)


def run(arguments: Namespace) -> None:
    """Export, verify, and print what was found."""
    start()
    from smca.deployment.export.command import Evidence, export_model
    from smca.files import write_json

    name = f"{arguments.model.resolve().name}-{arguments.precision}{SUFFIXES[arguments.format]}"
    out = arguments.out or Path("runs/export") / name
    evidence = Evidence(arguments.data, arguments.data_format, arguments.images, arguments.max_ap_loss)
    report = export_model(arguments.model, arguments.format, out, arguments.precision, evidence)
    _show(report)
    if arguments.json:
        write_json(arguments.json, report.to_json())
    say(str(out))


def _show(report: ExportReport) -> None:
    found = report.agreement
    say(f"compared on {report.images}: {found.compared} detections, {found.unmatched} without a counterpart")
    if found.largest_box_difference is not None:
        say(f"boxes differ by {found.mean_box_difference:.2g} px, at most {found.largest_box_difference:.2g}")
        say(f"scores differ by {found.mean_score_difference:.2g}, at most {found.largest_score_difference:.2g}")
    if report.ap_before is not None and report.ap_after is not None:
        change = 100 * (report.ap_after - report.ap_before)
        say(f"AP {100 * report.ap_before:.2f} -> {100 * report.ap_after:.2f} ({change:+.2f})")
    else:
        say("AP was not measured (it needs --data with boxes)")
    say(f"{report.bytes / 2**20:.1f} MiB, {report.precision}")
