"""Where a pre-training stands: a checkpoint an epoch in .NAME.pretraining beside its MODEL, until that is written.

The same command then goes on from the newest that is whole. Raises OutputError when another pre-training was begun
there, or where nothing can be written.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Protocol

import torch

from smca.errors import OutputError
from smca.files import read_json, write_json
from smca.training.checkpoints import Checkpoints


class Stateful(Protocol):
    """A model, an optimiser or a schedule."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


class Standing:
    """The pre-training of `parts` into `out`; `asked`, of builtin types, says which one it is."""

    def __init__(self, out: Path, asked: dict[str, Any], parts: dict[str, Stateful]) -> None:
        self.checkpoints = Checkpoints(out.with_name(f".{out.name}.pretraining"))
        self.asked, self.parts = asked, parts
        self.epochs = 0
        self.seconds = 0.0

    def go_on(self) -> list[str]:
        """Take the state of the newest checkpoint, if there is one; lines that say so, and which were damaged."""
        self.checkpoints.clear_draft()
        found, lines = self.checkpoints.newest()
        if found is None:
            return lines
        if read_json(found / "asked.json") != self.asked:
            raise OutputError(
                f"another pre-training was begun in {self.checkpoints.path}: ask for the same, choose another --out or "
                "delete that folder"
            )
        state = torch.load(found / "state.pt", map_location="cpu", weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        torch.set_rng_state(state["cpu"])
        if torch.cuda.is_available() and state["cuda"]:
            torch.cuda.set_rng_state_all(state["cuda"])
        self.epochs, self.seconds = state["epochs"], state["seconds"]
        return [*lines, f"going on after epoch {self.epochs}"]

    def save(self, epochs: int, seconds: float) -> None:
        """Remember what there is after so many epochs and so much time."""
        state: dict[str, Any] = {name: part.state_dict() for name, part in self.parts.items()}
        state["cpu"] = torch.get_rng_state()
        state["cuda"] = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        folder = self.checkpoints.draft / f"checkpoint-{epochs}"
        write_json(folder / "asked.json", self.asked)
        torch.save({**state, "epochs": epochs, "seconds": seconds}, folder / "state.pt")
        self.checkpoints.keep(epochs)

    def forget(self) -> None:
        """Remove the checkpoints."""
        shutil.rmtree(self.checkpoints.path, ignore_errors=True)
