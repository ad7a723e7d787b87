"""The golden numbers of the authors' public models, and their checkpoints rebuilt by the recipe beside them."""

from __future__ import annotations

import importlib.util
import json
from argparse import Namespace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor

from smca.interchange.checkpoint import Checkpoint


class Golden:
    """One golden case: its description, checkpoint by the recipe and expected numbers."""

    def __init__(self, folder: Path, name: str) -> None:
        self.case: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
        self.expected: dict[str, np.ndarray] = load_file(folder / f"{name}.safetensors")
        self.recipe = _load(folder / "recipe.py")
        self.seed: int = self.case["seed"]

    def checkpoint(self) -> Checkpoint:
        """Weights by the authors' names; arguments as their training script stores them."""
        weights = self.recipe.official_weights(self.case["shapes"], self.seed)
        return Checkpoint({name: torch.from_numpy(value) for name, value in weights.items()}, self.case["config"])

    def write(self, path: Path) -> Path:
        """The checkpoint as a file, as their training script writes it."""
        found = self.checkpoint()
        torch.save({"model": found.tensors, "epoch": 49, "args": Namespace(**found.arguments)}, path)
        return path

    def normal(self, name: str, shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(self.recipe._normal(name, shape, self.seed))

    def images(self) -> list[Tensor]:
        return [torch.from_numpy(image) for image in self.recipe.golden_images(self.case["sizes"], self.seed)]


def _load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_recipe", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
