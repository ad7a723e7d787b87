"""Export from a model folder to a verified file: what `smca export` does.

The file is written under another name, run on images beside the model it comes from, and gets its name only if it
agrees: a float32 file within `LIMITS` on every detection, any file within `max_ap_loss` where there is data to measure
AP on. Otherwise nothing is left behind. Images: the val split of DATA, else those given, else generated scenes.
Raises ModelError for a file that does not agree, ConfigurationError for options that do not fit together, DeviceError
where bfloat16 could not be verified, OutputError for a place that cannot be written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from transformers import PreTrainedModel

from smca.data.layouts import Format
from smca.data.reading import read_split, read_splits
from smca.data.scenes import make_scenes
from smca.deployment.export.agreement import Agreement, agreement
from smca.deployment.export.formats import SUFFIXES, ExportFormat, Quantize, check, write
from smca.deployment.export.graph import load_for_export, record, sides_of
from smca.deployment.export.quantization import CALIBRATION_IMAGES, quantize
from smca.errors import ConfigurationError, DeviceError, ModelError, OutputError
from smca.evaluation.command import evaluate_model
from smca.inference.loading import load, processor_of
from smca.inference.manifest import ExportPrecision, Manifest, Sides
from smca.inference.predict import predict, threshold_of
from smca.inference.sources import list_images
from smca.machine import machine
from smca.modeling.configuration import SmcaConfig
from smca.modeling.image_processing import SmcaImageProcessor
from smca.modeling.precision import cpu_has_bfloat16
from smca.progress import Progress
from smca.sizes import ImageSize

COMPARED_IMAGES = 16
TOGETHER = 3  # images at once, so that padding is compared too
MAX_AP_LOSS: dict[ExportPrecision, float] = {"fp32": 0.005, "bf16": 0.01, "int8": 0.01}
LIMITS = {"box": 0.5, "score": 0.005}  # of float32: pixels and score that no detection may differ by
SCENES = (ImageSize(height=240, width=320), ImageSize(height=320, width=200))


@dataclass(frozen=True)
class ExportReport:
    """What was written and how it compares; AP None without data (or without boxes in it)."""

    model: str
    file: str
    format: ExportFormat
    precision: ExportPrecision
    bytes: int
    sides: Sides
    images: str
    agreement: Agreement
    max_ap_loss: float
    ap_before: float | None = None
    ap_after: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return builtin types, and what it was measured on."""
        return {**asdict(self), **machine()}


@dataclass(frozen=True)
class Evidence:
    """What to verify on: a data set, or else images, or else generated scenes; the loss of AP that is allowed."""

    data: Path | None = None
    data_format: Format | None = None
    images: Sequence[str | Path] = ()
    max_ap_loss: float | None = None


def export_model(
    folder: Path,
    format: ExportFormat,
    out: Path,
    precision: ExportPrecision = "fp32",
    evidence: Evidence | None = None,
) -> ExportReport:
    """Write `out` and return how it compares with the model; a file of that name is replaced."""
    evidence = evidence or Evidence()
    _check(format, out, precision, evidence)
    own = _own_images(evidence)
    exact = load_for_export(folder, precision)
    processor = processor_of(exact)
    if not isinstance(processor, SmcaImageProcessor):
        raise ModelError(f"{folder} has a {type(processor).__name__}; allowed: SmcaImageProcessor")
    manifest = Manifest(cast(SmcaConfig, exact.config), processor, precision, sides_of(exact))
    with _workplace(out) as place:
        images, source = own or _scenes(place)
        file = place / out.name
        with Progress("exporting") as progress:
            progress(0, 3, "recording the graph")
            program = record(exact, manifest.sides)
            progress(1, 3, f"writing {format}")
            write(program, file, format, manifest, _quantizer(evidence, manifest))
            progress(2, 3, "comparing")
            before, after = load(folder, "cpu"), load(file, "cpu")
            found = _compared(before, after, images)
            progress(3, 3)
        loss = evidence.max_ap_loss if evidence.max_ap_loss is not None else MAX_AP_LOSS[precision]
        size = sum(part.stat().st_size for part in _parts(file))
        report = ExportReport(str(folder), str(out), format, precision, size, manifest.sides, source, found, loss)
        report = _with_ap(report, before, after, evidence)
        _judge(report)
        for part in _parts(file):
            part.replace(out.with_name(part.name))
    return report


def _check(format: ExportFormat, out: Path, precision: ExportPrecision, evidence: Evidence) -> None:
    check(format, precision)
    if out.suffix != SUFFIXES[format]:
        raise ConfigurationError(
            f"--out is {out}; allowed with --format {format}: a name that ends in {SUFFIXES[format]}"
        )
    if precision == "int8" and evidence.data is None:
        raise ConfigurationError("--precision int8 needs --data DATA, whose images show what ranges values take")
    if evidence.max_ap_loss is not None and evidence.data is None:
        raise ConfigurationError("--max-ap-loss needs --data DATA, to measure AP on")
    if precision == "bf16" and not cpu_has_bfloat16():
        raise DeviceError(
            "precision bf16: this cpu has no bfloat16 arithmetic to verify it with; allowed here: fp32, int8"
        )


@contextmanager
def _workplace(out: Path) -> Iterator[Path]:
    """A folder beside `out`, so that a finished file only needs renaming; gone afterwards."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-", ignore_cleanup_errors=True) as place:
            yield Path(place)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error


def _parts(file: Path) -> list[Path]:
    """The files of an export, the one that is opened last: OpenVINO keeps its weights in a second."""
    return [file.with_suffix(".bin"), file] if file.suffix == ".xml" else [file]


def _own_images(evidence: Evidence) -> tuple[list[Path], str] | None:
    """The user's images to compare on, and how to call them; None where there are none."""
    if evidence.data is not None:
        records = read_split(evidence.data, "val", format=evidence.data_format).records[:COMPARED_IMAGES]
        return [record.path for record in records], f"{len(records)} images of {evidence.data}, val"
    if evidence.images:
        paths = list_images(evidence.images)[:COMPARED_IMAGES]
        return paths, f"{len(paths)} images given"
    return None


def _scenes(place: Path) -> tuple[list[Path], str]:
    """Images made from nothing, of two sizes."""
    folders = [make_scenes(place / str(i), images=6, val_images=2, size=size) for i, size in enumerate(SCENES)]
    paths = list_images(folders)
    return paths, f"{len(paths)} generated scenes of digits (give --data or --images for your own)"


def _quantizer(evidence: Evidence, manifest: Manifest) -> Quantize | None:
    if manifest.precision != "int8" or evidence.data is None:
        return None
    records = read_splits(evidence.data, format=evidence.data_format)[0].records
    step = max(1, len(records) // CALIBRATION_IMAGES)
    paths = [record.path for record in records[: step * CALIBRATION_IMAGES][::step]]
    return partial(quantize, paths=paths, processor=manifest.processor, sides=manifest.sides)


def _compared(before: PreTrainedModel, after: PreTrainedModel, images: Sequence[Path]) -> Agreement:
    found = [predict(model, processor_of(model), list(images), 0.0, TOGETHER) for model in (before, after)]
    return agreement(*found, threshold=threshold_of(before))


def _with_ap(report: ExportReport, before: PreTrainedModel, after: PreTrainedModel, evidence: Evidence) -> ExportReport:
    if evidence.data is None:
        return report
    first, second = (
        evaluate_model(model, evidence.data, format=evidence.data_format)["AP"] for model in (before, after)
    )
    return replace(report, ap_before=first, ap_after=second)


def _judge(report: ExportReport) -> None:
    """ModelError for a file that does not do as its model does."""
    found = report.agreement
    box, score = found.largest_box_difference or 0.0, found.largest_score_difference or 0.0
    if report.precision == "fp32" and (found.unmatched or box > LIMITS["box"] or score > LIMITS["score"]):
        raise ModelError(
            f"refused, nothing written: the {report.format} file differs from {report.model} by {box:.3g} px and "
            f"{score:.3g} of score, {found.unmatched} of {found.compared} not found; "
            f"allowed: {LIMITS['box']} px, {LIMITS['score']}, 0"
        )
    if report.ap_before is None or report.ap_after is None:
        return
    if report.ap_before - report.ap_after > report.max_ap_loss:
        raise ModelError(
            f"refused, nothing written: AP falls from {report.ap_before:.4f} to {report.ap_after:.4f}; "
            f"allowed: a loss of {report.max_ap_loss:g} (--max-ap-loss)"
        )
