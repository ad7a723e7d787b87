"""What was asked of a comparison, and where its parts lie on disk.

OUT/comparison.json   what was asked for            OUT/recipes/NAME.yaml   what each run resolved to
OUT/backbones         one start for all, by seed    OUT/runs/NAME-SEED      runs, as `smca train` leaves them
OUT/pretrained        UP-DETR's start, by seed      OUT/table.json, table.md, convergence.png
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smca.data.layouts import Format
from smca.data.reading import DataSet, read_data
from smca.errors import ConfigurationError, nearest
from smca.files import read_json
from smca.training.recipe import is_file
from smca.training.recipes.contestants import CONTESTANTS
from smca.training.request import TrainRequest
from smca.training.run_folder import RunFolder

PRETRAINED = "up-detr"


def label(model: str) -> str:
    """What a system is called in the table: its name or, of a recipe file, that file's."""
    return Path(model).stem if is_file(model) else model


@dataclass(frozen=True)
class ComparisonRequest:
    """What a user asks of `smca compare`; `overrides` are KEY=VALUE of every recipe, or NAME:KEY=VALUE of one."""

    data: Path
    models: tuple[str, ...] = CONTESTANTS
    size: str = "tiny"
    epochs: int | None = None
    seeds: int = 1
    overrides: tuple[str, ...] = ()
    image_size: int | None = None
    backbone_weights: str | None = None
    workers: int | None = None
    device: str | None = None
    val_fraction: float = 0.0
    format: Format | None = None
    pretrain_epochs: int = 10

    def to_json(self) -> dict[str, Any]:
        """Builtin types only, the data folder absolute."""
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}
        return {**plain, "data": str(self.data.resolve())}

    def read(self, seed: int = 0) -> DataSet:
        """The data that runs of a seed learn from and are judged by."""
        return read_data(self.data, val_fraction=self.val_fraction, seed=seed, format=self.format)

    def training(self, seed: int, name: str = "") -> TrainRequest:
        """What all runs of a seed have in common; with `name`, also what that system alone was given."""
        return TrainRequest(
            data=self.data,
            recipe="",
            epochs=self.epochs,
            image_size=self.image_size,
            backbone_weights=self.backbone_weights,
            workers=self.workers,
            overrides=tuple(self._overrides(name)),
            seed=seed,
            device=self.device,
            val_fraction=self.val_fraction,
            format=self.format,
        )

    def _overrides(self, name: str) -> Iterator[str]:
        for text in self.overrides:
            owner, mark, _ = text.partition("=")[0].rpartition(":")
            names = [label(model) for model in self.models]
            if mark and owner not in names:
                hint = nearest(owner, names)
                raise ConfigurationError(f"--set {text}: no system '{owner}' is compared.{hint}")
            if owner in ("", name):
                yield text.removeprefix(f"{owner}:")


@dataclass(frozen=True)
class ComparisonFolder:
    """A comparison's folder."""

    request: ComparisonRequest
    path: Path

    def folder(self, name: str, seed: int) -> RunFolder:
        """Where a run is."""
        return RunFolder(self.path / "runs" / f"{name}-{seed}")

    def warmed(self, seed: int) -> Path:
        """The seed's backbone, and beside it how long its warm-up took."""
        return self.path / "backbones" / f"{seed}.safetensors"

    def pretrained(self, seed: int) -> Path:
        """The MODEL that UP-DETR starts from."""
        return self.path / "pretrained" / str(seed)

    def head_start(self, name: str, seed: int) -> float:
        """Seconds spent before the first epoch of a run: the shared warm-up, and pre-training."""
        files = [self.warmed(seed).with_suffix(".json")]
        if name == PRETRAINED:
            files.append(self.pretrained(seed).with_suffix(".json"))
        return sum(read_json(file)["seconds"] for file in files if file.is_file())
