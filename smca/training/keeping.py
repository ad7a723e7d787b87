"""Keeps a run's checkpoints and ends it well: after Ctrl-C or SIGTERM the state of the current update is saved.

An evaluation that has begun is finished first, for its epoch's checkpoint comes after it. A second signal ends the run
at once; it then goes on from the checkpoint before.
"""

from __future__ import annotations

from threading import Event
from typing import Any

import torch
from torch import distributed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from smca.progress import Progress
from smca.training.report import RunReport
from smca.training.run_folder import RunFolder
from smca.training.trainer import DetectionTrainer

NOTICE = "\nstopping as soon as the run is saved; press Ctrl-C again to stop at once\n"


class Keeper(TrainerCallback):
    """Follows a trainer that writes its checkpoints as drafts; `stop` is set by whoever wants the run to end."""

    def __init__(self, folder: RunFolder, trainer: DetectionTrainer, progress: Progress, report: RunReport) -> None:
        self.folder = folder
        self.trainer = trainer
        self.progress = progress
        self.report = report
        self.stop = Event()

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Tell the order its epoch: in several processes a resume within an epoch would take that of the first."""
        self.trainer.order.set_epoch(int(state.epoch or 0))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Save when the run is to end; after the last update of an epoch this comes anyway, after the evaluation."""
        if not float(state.epoch or 0).is_integer() and self._is_asked():
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Make the draft a checkpoint. Raises KeyboardInterrupt when the run is to end."""
        self.trainer.accelerator.wait_for_everyone()
        if state.is_world_process_zero:
            self.folder.keep_checkpoint(state.global_step)
        if self._is_asked():
            self.progress.print(f"saved at update {state.global_step}; go on with: smca resume {self.folder.path}")
            raise KeyboardInterrupt

    def finish(self) -> None:
        """Leave the folder tidy, with its page."""
        self.folder.checkpoints.clear_draft()
        self.report.finish()

    def _is_asked(self) -> bool:
        """Whether any process was; all learn it at the same update, or they would wait for one another for ever."""
        asked = self.stop.is_set()
        if not (distributed.is_available() and distributed.is_initialized()):
            return asked
        any_asked = torch.tensor(float(asked), device=self.trainer.args.device)
        distributed.all_reduce(any_asked, distributed.ReduceOp.MAX)
        return bool(any_asked)
