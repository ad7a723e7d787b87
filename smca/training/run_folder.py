"""A run on disk.

    RUN/run.json         what was asked for          RUN/recipe.yaml   what it resolved to
    RUN/metrics.jsonl    one object an epoch         RUN/tensorboard
    RUN/report.html      the page of the run
    RUN/best, RUN/last   MODELs                      RUN/checkpoints   what `smca resume` goes on from
    RUN/.lock            held by who trains in it

Every file appears complete or not at all. A checkpoint holds the metrics.jsonl of its moment too: with it best scores
and early stopping go back to where the run goes on.
"""

from __future__ import annotations

import json
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from smca.errors import OutputError
from smca.files import LOCK, alone, read_json, write_atomically, write_json
from smca.inference.saving import recover_model, save_model
from smca.modeling.image_processing import SmcaImageProcessor
from smca.training.checkpoints import Checkpoints
from smca.training.request import TrainRequest

REQUEST = ("run.json", "recipe.yaml")
METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.path / "checkpoints")

    def write_request(self, request: TrainRequest, recipe_yaml: str) -> None:
        """Remember what the run is."""
        write_atomically(self.path / "recipe.yaml", recipe_yaml)
        write_json(self.path / "run.json", request.to_json())

    def read_request(self) -> TrainRequest:
        """What the run was asked for; OutputError when this is not a run."""
        if not (self.path / "run.json").is_file():
            raise OutputError(
                f"{self.path} is not a run: it has no run.json (what `smca train` writes has, from its beginning)"
            )
        return TrainRequest.from_json(read_json(self.path / "run.json"))

    def alone(self) -> AbstractContextManager[None]:
        """No other process trains in the run meanwhile."""
        return alone(self.path, "training")

    def clear(self) -> None:
        """Remove all but the request."""
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name not in (*REQUEST, LOCK):
                entry.unlink()

    def keep_checkpoint(self, step: int) -> None:
        """Make the checkpoint that was just written, as a draft, one to go on from."""
        text = _lines(self.metrics())
        write_atomically(self.checkpoints.draft / f"checkpoint-{step}" / METRICS, text)
        self.checkpoints.keep(step)

    def go_back_to(self, checkpoint: Path) -> None:
        """Forget the epochs after a checkpoint, and what a killed run left half done."""
        self.checkpoints.clear_draft()
        for name in ("best", "last"):
            recover_model(self.path / name)
        write_atomically(self.path / METRICS, (checkpoint / METRICS).read_text())

    def metrics(self, checkpoint: Path | None = None) -> list[dict[str, Any]]:
        """The epochs so far, or those until a checkpoint."""
        path = (checkpoint or self.path) / METRICS
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []

    def write_metrics(self, row: dict[str, Any]) -> None:
        """Add an epoch; rows of the same or later epochs, left by a killed run, go."""
        rows = [old for old in self.metrics() if old["epoch"] < row["epoch"]]
        write_atomically(self.path / METRICS, _lines([*rows, row]))

    def write_model(self, name: str, model: PreTrainedModel, processor: SmcaImageProcessor) -> None:
        """Put a MODEL at RUN/name."""
        save_model(model, processor, self.path / name)


def _lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
