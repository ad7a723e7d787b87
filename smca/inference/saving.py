"""A model and its image processor -> a model folder, complete or not at all.

The folder is written beside its place and swapped in; `recover_model` is for a process killed while it swapped. Raises
OutputError for a place that cannot be written.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from transformers import PreTrainedModel

from smca.errors import OutputError
from smca.files import writing
from smca.modeling.image_processing import SmcaImageProcessor


def save_model(model: PreTrainedModel, processor: SmcaImageProcessor, place: Path) -> None:
    """Put a MODEL at `place`, in the stead of one that is there."""
    recover_model(place)
    fresh, old = _beside(place)
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        model.save_pretrained(fresh)
        processor.save_pretrained(fresh)
        if place.exists():
            place.rename(old)
        fresh.rename(place)
    except OSError as error:
        if old.exists() and not place.exists():
            old.rename(place)
        raise OutputError(f"cannot write the model {place}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def recover_model(place: Path) -> None:
    """Put back the MODEL that was at `place`, where a process was killed after it had moved it aside."""
    _, old = _beside(place)
    if old.exists() and not place.exists():
        with writing(place):
            old.rename(place)


def _beside(place: Path) -> tuple[Path, Path]:
    """Where the new and the old folder lie while they are swapped."""
    return place.with_name(f".{place.name}.new"), place.with_name(f".{place.name}.old")
