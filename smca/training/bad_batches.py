"""RUN/bad_batches: the updates whose numbers were not finite, and what they were made of.

    updates.jsonl                    one object an update and process: what broke first, and the files of the images
    update-57-process-0-part-0.safetensors    the micro-batch as the model saw it, for the first `KEPT` updates

A run that goes on from a checkpoint meets the same updates again and writes the same entries. Every file appears
complete or not at all. Raises OutputError where nothing can be written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from smca.files import write_atomically

FOLDER = "bad_batches"
LIST = "updates.jsonl"
KEPT = 4


class BadBatches:
    """The folder, which is made when it is needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, update: int, process: int, parts: Mapping[int, Mapping[str, Any]]) -> list[str]:
        """Write micro-batches by their number, unless enough other updates' are there; returns the files' names."""
        names = {file.name.split("-")[1] for file in self.folder.glob("update-*.safetensors")}
        if len(names - {str(update)}) >= KEPT:
            return []
        written = []
        for part, batch in parts.items():
            written.append(f"update-{update}-process-{process}-part-{part}.safetensors")
            write_atomically(self.folder / written[-1], save(flat(batch)))
        return written

    def enter(self, update: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add an update's rows to the list; those of the same or later updates, left by a stopped run, go."""
        before = [row for row in self.rows() if row["update"] < update]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in [*before, *rows])
        write_atomically(self.folder / LIST, text)

    def rows(self) -> list[dict[str, Any]]:
        """The list so far."""
        path = self.folder / LIST
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def flat(batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """A batch as named tensors: pixel_values, pixel_mask, records, labels.0.boxes, labels.0.class_labels, ..."""
    tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
    for number, label in enumerate(batch["labels"]):
        tensors |= {f"labels.{number}.{name}": value for name, value in label.items()}
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
