"""A model and its image processor -> a model folder, complete or not at all.

The folder is written beside its place and swapped in. Raises OutputError for a place that cannot be written.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from transformers import PreTrainedModel

from smca.errors import OutputError
from smca.modeling.image_processing import SmcaImageProcessor


def save_model(model: PreTrainedModel, processor: SmcaImageProcessor, place: Path) -> None:
    """Put a MODEL at `place`, in the stead of one that is there."""
    fresh, old = (place.with_name(f".{place.name}.{part}") for part in ("new", "old"))
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
    shutil.rmtree(old, ignore_errors=True)
