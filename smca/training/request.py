"""What a user asks of `smca train`; a run keeps it in RUN/run.json so that `smca resume` can go on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smca.data.layouts import Format


@dataclass(frozen=True)
class TrainRequest:
    """None means: as the recipe says, or without a recipe: `init` is fine-tuned. `overrides` are KEY=VALUE of it."""

    data: Path
    recipe: str | None
    out: Path | None = None
    epochs: int | None = None
    batch: int | None = None
    lr: float | None = None
    image_size: int | None = None
    init: str | None = None
    backbone_weights: str | None = None
    freeze: tuple[str, ...] = ()
    precision: str | None = None
    compile: bool = False
    workers: int | None = None
    overrides: tuple[str, ...] = ()
    seed: int = 0
    device: str | None = None
    dry_run: bool = False
    strict: bool = False
    val_fraction: float = 0.0
    format: Format | None = None
    report_to: tuple[str, ...] = ("tensorboard",)
    fsdp: bool = False

    def to_json(self) -> dict[str, Any]:
        """Builtin types only; the data folder absolute, so that a run resumes from anywhere."""
        return asdict(self) | {"data": str(self.data.resolve()), "out": str(self.out) if self.out else None}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrainRequest:
        """The inverse of `to_json`."""
        typed: dict[str, Any] = {
            **values,
            "data": Path(values["data"]),
            "out": Path(values["out"]) if values["out"] else None,
            "freeze": tuple(values["freeze"]),
            "overrides": tuple(values["overrides"]),
            "report_to": tuple(values.get("report_to", ("tensorboard",))),
        }
        return cls(**typed)
