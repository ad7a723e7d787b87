"""A run on disk.

    RUN/run.json         what was asked for          RUN/recipe.yaml   what it resolved to
    RUN/metrics.jsonl    one object an epoch         RUN/tensorboard
    RUN/report.html      the page of the run
    RUN/best, RUN/last   MODELs                      RUN/checkpoints   what `smca resume` goes on from

Every file appears complete or not at all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from smca.errors import OutputError
from smca.files import read_json, write_atomically, write_json
from smca.inference.saving import save_model
from smca.modeling.image_processing import SmcaImageProcessor
from smca.training.request import TrainRequest

COMPLETE = "trainer_state.json"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def write_request(self, request: TrainRequest, recipe_yaml: str) -> None:
        """Remember what the run is."""
        write_atomically(self.path / "recipe.yaml", recipe_yaml)
        write_json(self.path / "run.json", request.to_json())

    def read_request(self) -> TrainRequest:
        """What the run was asked for; OutputError when this is not a run."""
        if not (self.path / "run.json").is_file():
            raise OutputError(f"{self.path} is not a run: it has no run.json (a folder written by `smca train` has)")
        return TrainRequest.from_json(read_json(self.path / "run.json"))

    def latest_checkpoint(self) -> Path | None:
        """The newest complete checkpoint."""
        found = [folder for folder in self.checkpoints.glob("checkpoint-*") if (folder / COMPLETE).is_file()]
        return max(found, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)

    def metrics(self) -> list[dict[str, Any]]:
        """The epochs so far."""
        path = self.path / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []

    def write_metrics(self, row: dict[str, Any]) -> None:
        """Add an epoch; rows of the same or later epochs, left by a killed run, go."""
        rows = [old for old in self.metrics() if old["epoch"] < row["epoch"]]
        write_atomically(self.path / "metrics.jsonl", "".join(json.dumps(r) + "\n" for r in [*rows, row]))

    def write_model(self, name: str, model: PreTrainedModel, processor: SmcaImageProcessor) -> None:
        """Put a MODEL at RUN/name."""
        save_model(model, processor, self.path / name)
