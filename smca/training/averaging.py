"""The moving average of a model's weights, which is what is evaluated and saved where a recipe has one.

    average <- d average + (1 - d) weights        d = min(decay, (1 + n) / (10 + n)) at update n

so that the first updates, far from where training ends, are soon forgotten. Running statistics of norms are averaged
alike. A checkpoint holds the average beside the weights. Source: Polyak and Juditsky's averaging, with the growing
decay of TensorFlow's ExponentialMovingAverage.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias, cast

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from smca.training.detector import Detector

FILE = "averaged.safetensors"
Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]


def decay_at(update: int, decay: float) -> float:
    """What the average keeps of itself at update 0, 1, ...; in [.1, decay]."""
    return min(decay, (1 + update) / (10 + update))


class Average:
    """A second model of averaged weights; the first update copies the weights as they are."""

    def __init__(self, model: Detector, decay: float) -> None:
        def step(average: Tensors, current: Tensors, updates: Tensor | int) -> None:
            if average[0].is_floating_point():
                torch._foreach_lerp_(list(average), list(current), 1 - decay_at(int(updates), decay))
            else:
                torch._foreach_copy_(list(average), list(current))

        self._whole = AveragedModel(cast(nn.Module, model), multi_avg_fn=step, use_buffers=True)
        self._whole.requires_grad_(False)

    @property
    def model(self) -> Detector:
        return cast(Detector, self._whole.module)

    def update(self, model: Detector) -> None:
        """Take in the weights after an update."""
        self._whole.update_parameters(cast(nn.Module, model))

    def save(self, folder: Path) -> None:
        """Write it beside a checkpoint's weights."""
        save_model(self._whole, str(folder / FILE))

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint."""
        load_model(self._whole, folder / FILE)
