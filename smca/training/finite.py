"""No update whose numbers are not finite reaches the weights; what broke first is named, and its batch kept.

A loss that is not finite makes every gradient NaN, so one number, the norm of the gradients, tells of both and is the
same on all processes: the guard costs one comparison an update. Only where it fails are the same micro-batches seen
again, dropout drawing the same, every module watched (watch.py), and the images written down (bad_batches.py).

"stop" ends the run with a TrainingError, its last checkpoint untouched. "skip" leaves the update out: weights,
averages, moments and statistics stay as they were, the schedule goes on. Skipping ends too, where the weights
themselves are broken or more than `IN_A_ROW` updates were. With float16, gradients beyond its range are no failure
but what the scaler waits for: the update is left out and the scale halved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from smca.errors import TrainingError
from smca.progress import Progress
from smca.training.bad_batches import LIST, BadBatches
from smca.training.watch import Find, bad_weight, first_bad

if TYPE_CHECKING:
    from smca.training.trainer import DetectionTrainer

IN_A_ROW = 10
NAMED = 3


def require_finite(norm: Tensor, what: str) -> None:
    """Raise TrainingError unless the norm of a step's gradients is finite; for loops without a guard."""
    if not math.isfinite(norm):
        raise TrainingError(f"{what}: the loss or its gradients are not finite; check the images, or lower --lr")


class FiniteGuard(TrainerCallback):
    """Watches one trainer; `skipping` says whether the present update is left out, `say` prints a line."""

    def __init__(self, trainer: DetectionTrainer, folder: Path, skip: bool) -> None:
        self.trainer = trainer
        self.bad = BadBatches(folder)
        self.skip = skip
        self.say: Callable[[str], None] = Progress("training").print
        self.skipping = False
        self.overflows = 0
        self._in_a_row = 0
        self._batches: list[dict[str, Any]] = []
        self._boxes: Tensor | None = None
        self._losses: list[Tensor] = []
        self._running: list[Tensor] = []
        self._statistics: list[Tensor] = []
        self._loss_before = torch.zeros(())

    def begin(self, batches: list[dict[str, Any]], boxes: Tensor) -> None:
        """The micro-batches of the next update, and what their loss is divided by."""
        self._batches, self._boxes, self._losses = list(batches), boxes, []

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Find the running statistics, which a forward pass changes too."""
        norms = [norm for norm in self.trainer.detector.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)]
        self._running = [value for norm in norms for value in norm.buffers()]

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Remember what the update starts from beside the weights. Dropout draws by images (`compute_loss`)."""
        self._statistics = [value.clone() for value in self._running]
        self._loss_before = self.trainer._tr_loss.clone()

    def weighed(self, loss: Tensor) -> Tensor:
        """The loss, whose gradients are all NaN if it is not finite."""
        self._losses.append(loss.detach())
        return loss * torch.where(loss.detach().isfinite(), 1.0, math.nan)

    def check(self, model: nn.Module, norm: Tensor | float) -> None:
        """Look at the norm of an update's gradients, before they are followed; raises TrainingError."""
        self.skipping = not math.isfinite(norm)
        if not self.skipping:
            self._in_a_row = 0
            return
        if self._overflowed():
            self.overflows += 1
        else:
            self._in_a_row += 1
            self._settle(model)
            self._forget_loss()
        model.zero_grad(set_to_none=True)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Count what was left out."""
        left_out = len({row["update"] for row in self.bad.rows()})
        if left_out:
            self.say(f"{left_out} updates were left out, not finite: {self.bad.folder / LIST}")
        if self.overflows:
            self.say(f"{self.overflows} updates were beyond float16 and left out while the scale of the loss settled")

    def _overflowed(self) -> bool:
        """Whether the scale of float16's gradients can explain it."""
        scaler = self.trainer.accelerator.scaler
        if scaler is None or self._anywhere(not all(bool(loss.isfinite()) for loss in self._losses)):
            return False
        return scaler.get_scale() > 1

    def _settle(self, model: nn.Module) -> None:
        """Find the cause, write it down, and end the run or leave the update out."""
        update = self.trainer.state.global_step + 1
        self._restore()
        weight = bad_weight(self.trainer.detector)
        own = dict.fromkeys(range(len(self._batches)), weight) if weight else self._second_pass(model)
        rows = [row for rows in _gathered(self._rows(update, own)) for row in rows]
        if self.trainer.is_world_process_zero():
            self.bad.enter(update, rows)
        line = f"update {update} is not finite: {_told(rows)}; see {self.bad.folder / LIST}"
        beyond_help = weight is not None or self._in_a_row > IN_A_ROW
        if beyond_help or not self.skip:
            raise TrainingError(f"{line}. {self._advice(beyond_help)}")
        self.say(f"left out: {line}")

    def _advice(self, beyond_help: bool) -> str:
        run = self.bad.folder.parent
        if beyond_help:
            return "The model is beyond repair: start again with a lower learning rate (--lr)"
        return (
            f"Mend the images, start again with a lower --lr, or leave such updates out: write non_finite: skip in "
            f"{run / 'recipe.yaml'} (--set non_finite=skip), then smca resume {run}"
        )

    def _forget_loss(self) -> None:
        """The mean loss of the epoch is over the updates that count."""
        self.trainer._tr_loss.copy_(self._loss_before)
        self.trainer._globalstep_last_logged += 1

    def _second_pass(self, model: nn.Module) -> dict[int, Find | None]:
        """What broke first in each micro-batch that broke; all of them, without a cause, if none does again."""
        trainer, found = self.trainer, {}
        for part, batch in enumerate(self._batches):
            step = partial(trainer.training_step, model, dict(batch), self._boxes)
            found[part] = first_bad(trainer.detector, batch, step)
        self._restore()
        if self._anywhere(any(found.values())):
            return {part: find for part, find in found.items() if find}
        return dict.fromkeys(found)

    def _rows(self, update: int, found: Mapping[int, Find | None]) -> list[dict[str, Any]]:
        process = self.trainer.args.process_index
        kept = self.bad.keep(update, process, {part: self._batches[part] for part in found})
        return [
            {
                "update": update,
                "process": process,
                "part": part,
                "found": str(find) if find else "the gradients were not finite; a second pass was",
                "tensor": find.tensor if find else None,
                "module": find.module if find else None,
                "files": [str(file) for file in self.trainer.files_of(self._batches[part])],
                "batch": next((name for name in kept if name.endswith(f"-part-{part}.safetensors")), None),
            }
            for part, find in found.items()
        ]

    def _restore(self) -> None:
        for now, before in zip(self._running, self._statistics, strict=True):
            now.copy_(before)

    def _anywhere(self, here: bool) -> bool:
        """Whether it is so on any process (collective)."""
        return any(_gathered(here))


def _gathered(value: Any) -> list[Any]:
    """The value of every process (collective)."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return [value]
    values = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values


def _told(rows: list[dict[str, Any]]) -> str:
    """The first cause and the first files."""
    files = [Path(file).name for row in rows for file in row["files"]]
    more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
    return f"{rows[0]['found']} (images: {', '.join(files[:NAMED])}{more})"
