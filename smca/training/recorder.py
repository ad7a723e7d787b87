"""What a run writes and shows: a live line of progress, one line an epoch, metrics.jsonl, the page, the models."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from smca.evaluation.variation import ADVICE, is_blind
from smca.inference.predict import UNTRAINED_THRESHOLD
from smca.progress import Progress, duration
from smca.training.report import RunReport
from smca.training.run_folder import RunFolder

if TYPE_CHECKING:
    from smca.training.trainer import DetectionTrainer

SHOWN = ("AP", "AP50", "AP75", "APs", "APm", "APl")


class Recorder(TrainerCallback):
    """Follows a trainer. `best` is the best AP so far, also over a resumed run's earlier epochs; the first epoch's
    seconds hold the backbone warm-up, none those of the page.
    """

    def __init__(self, folder: RunFolder, progress: Progress, report: RunReport) -> None:
        self.folder = folder
        self.progress = progress
        self.report = report
        self.trainer: DetectionTrainer | None = None
        self.started = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """One more update."""
        epoch = min(int(state.epoch or 0) + 1, int(args.num_train_epochs))
        self.progress(state.global_step, state.max_steps, f"epoch {epoch}/{int(args.num_train_epochs)}")

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """One more epoch: its row, its line, its models."""
        if self.trainer is None or not state.is_world_process_zero:
            return
        row = self._row(state)
        earlier = [old["AP"] or 0.0 for old in self.folder.metrics() if old["epoch"] < row["epoch"]]
        best = (row["AP"] or 0.0) >= max(earlier, default=0.0)
        self._write_models(row, best)
        self.folder.write_metrics(row)
        numbers = "  ".join(f"{name} {_percent(row[name])}" for name in SHOWN)
        took = duration(row["seconds"])
        mark = "  best" if best else ""
        mark += "  the same in every image" if is_blind(row["variation"]) else ""
        self.progress.print(f"epoch {row['epoch']:>3}  loss {row['loss']:.3f}  {numbers}  {took}{mark}")
        if best:
            self.report.show(self.trainer.found, self.trainer.judged.config.threshold)
        self.report.refresh()
        self.started = time.monotonic()

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """What there is to say about the whole."""
        rows = self.folder.metrics() if state.is_world_process_zero else []
        if rows and is_blind(rows[-1].get("variation")):  # older runs have none
            self.progress.print(ADVICE)
        if self.trainer and rows and rows[-1]["epoch"] < int(args.num_train_epochs) and control.should_training_stop:
            self.progress.print(f"stopped early: no better AP in the last {self.trainer.plan.patience} epochs")

    def _row(self, state: TrainerState) -> dict[str, Any]:
        losses = [entry for entry in state.log_history if "loss" in entry]
        last = losses[-1] if losses else {"loss": float("nan"), "learning_rate": 0.0}
        summary = self.trainer.summary if self.trainer else {}
        return {
            "epoch": round(state.epoch or 0),
            "step": state.global_step,
            "loss": last["loss"],
            "learning_rate": last["learning_rate"],
            **summary,
            "seconds": round(time.monotonic() - self.started, 2),
        }

    def _write_models(self, row: dict[str, Any], best: bool) -> None:
        if self.trainer is None:
            return
        model = self.trainer.judged
        threshold = row["best_threshold"]
        model.config.threshold = UNTRAINED_THRESHOLD if threshold is None else float(threshold)
        for name in ["last", *["best"] * best]:
            self.folder.write_model(name, model, self.trainer.processor)


def _percent(value: float | None) -> str:
    return "   -" if value is None else f"{100 * value:4.1f}"
