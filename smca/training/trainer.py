"""A thin `transformers.Trainer`: two learning rates, the schedule of a recipe, the right normaliser, COCO evaluation.

The loss of an update is divided by the mean number of boxes over its micro-batches and all processes, so neither
accumulation nor the number of processes changes it. Evaluation runs on every process's share of val and is joined
once. Source of the traps: the Trainer gathers every output tensor and clips at 1 unless told otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainingArguments

from smca.data.batching import SimilarSizes
from smca.data.dataset import NOBODY, Collate, EvalDataset, TrainDataset, seed_for
from smca.data.records import Split
from smca.evaluation.loop import collect
from smca.inference.interruption import outlive_first_signal
from smca.modeling.image_processing import SmcaImageProcessor
from smca.progress import Progress
from smca.training.averaging import Average
from smca.training.detector import Detector
from smca.training.finite import FiniteGuard
from smca.training.recipe import Optimisation
from smca.training.stopping import has_waited


def rate_factor(plan: Optimisation, step: int, steps: int) -> float:
    """Learning rate at `step` of `steps`, as a factor of the recipe's."""
    warmup = plan.warmup * steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if plan.schedule == "cosine":
        return max(0.01, 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, steps - warmup))))
    return 1.0 if step < plan.drop_at * steps else 0.1


REFERENCES = (
    "query_position.",
    ".centre.",
    "query_position_embeddings.",
    "query_refpoint_embeddings.",
    "ref_point_head.",
    "reference_points.",
    "sampling_offsets.",
)


def group_of(name: str) -> str:
    """The group of a parameter: "backbone", "reference" (query positions, centres, peers' offsets) or "rest"."""
    if "backbone." in name or ".pyramid.body." in name:
        return "backbone"
    return "reference" if any(part in name for part in REFERENCES) else "rest"


def gather(sharded: nn.Module, whole: nn.Module) -> None:
    """Copy the weights of a model that is sharded over all processes into a whole one of each (collective)."""
    options = StateDictOptions(full_state_dict=True)
    whole.load_state_dict(get_model_state_dict(sharded, options=options))
    for buffer in whole.buffers():
        distributed.broadcast(buffer, src=0)


class DetectionTrainer(Trainer):
    """Trains a detector whose forward takes pixel_values, pixel_mask, labels and num_boxes."""

    def __init__(
        self,
        model: Detector,
        arguments: TrainingArguments,
        plan: Optimisation,
        train: TrainDataset,
        val: Split,
        processor: SmcaImageProcessor,
        bad_batches: Path,
    ) -> None:
        collate = Collate(processor, train=True)
        self.val_images = EvalDataset(val.records)
        super().__init__(model, arguments, collate, train_dataset=train, eval_dataset=self.val_images)
        self.detector = model
        self.average = Average(model, plan.averaging) if plan.averaging else None
        self.whole = deepcopy(model) if arguments.fsdp else None
        together = arguments.per_device_train_batch_size * arguments.world_size
        self.order = SimilarSizes(train, plan.batch, arguments.seed, together)
        self.plan = plan
        self.val = val
        self.processor = processor
        self.model_accepts_loss_kwargs = False
        self.guard = FiniteGuard(self, bad_batches, plan.non_finite == "skip")
        self.add_callback(self.guard)

    @property
    def judged(self) -> Detector:
        """The model that is evaluated and saved: the averaged one where there is one, never a sharded one."""
        return self.average.model if self.average else self.whole or self.detector

    def create_optimizer(self, model: nn.Module | None = None) -> Optimizer:
        """AdamW with the backbone, and what says where queries look from, in groups of their own."""
        plan = self.plan
        rates = {"rest": plan.lr, "backbone": plan.backbone_lr, "reference": plan.lr * plan.reference_factor}
        groups: dict[str, list[nn.Parameter]] = {name: [] for name in rates}
        for name, parameter in (model or self.detector).named_parameters():
            if parameter.requires_grad:
                groups[group_of(name)].append(parameter)
        settings = [{"params": group, "lr": rates[name]} for name, group in groups.items() if group]
        self.optimizer = AdamW(settings, weight_decay=plan.weight_decay, fused=True)
        if self.average:
            self.optimizer.register_step_post_hook(self._take_in)
        return self.optimizer

    def _take_in(self, *_: Any) -> None:
        if self.average and not self.guard.skipping:
            self.average.update(self.detector)

    def create_accelerator_and_postprocess(self) -> None:
        """float16 on a CPU as on a GPU: accelerate would quietly compute in float32."""
        super().create_accelerator_and_postprocess()
        if self.args.fp16 and self.args.use_cpu:
            self.accelerator.native_amp = True
            self.accelerator.scaler = torch.amp.GradScaler("cpu")

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """The average too: a checkpoint counts once its last file is there, which comes later."""
        super()._save_optimizer_and_scheduler(output_dir)
        if self.average and self.args.should_save:
            self.average.save(Path(output_dir))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if self.average and checkpoint:
            self.average.load(Path(checkpoint))

    def _save_rng_state(self, output_dir: str) -> None:
        """The sum of an epoch's losses too: this too is of a process, and an epoch may be interrupted."""
        super()._save_rng_state(output_dir)
        torch.save({"sum": self._tr_loss, "since": self._globalstep_last_logged}, self._losses(output_dir))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        if checkpoint and self._losses(checkpoint).is_file():
            kept = torch.load(self._losses(checkpoint), map_location="cpu", weights_only=True)
            self._tr_loss, self._globalstep_last_logged = kept["sum"].to(self.args.device), kept["since"]

    def _losses(self, checkpoint: str) -> Path:
        return Path(checkpoint) / f"losses_{self.args.process_index}.pth"

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Its processes live until the update of a signal is saved; items draw from streams of their own."""
        loader = super().get_train_dataloader()
        getattr(loader, "base_dataloader", loader).worker_init_fn = outlive_first_signal
        return loader

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> SimilarSizes:
        """Batches of images of a size."""
        return self.order

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> LRScheduler:
        """The recipe's schedule over the whole run."""
        chosen = optimizer or self.optimizer or self.create_optimizer()
        self.lr_scheduler = LambdaLR(chosen, lambda step: rate_factor(self.plan, step, num_training_steps))
        return self.lr_scheduler

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Any]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], Tensor]:
        """The micro-batches of one update, and the mean number of boxes in one, over all processes.

        At least one is counted over all of them, whatever their number.
        """
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        boxes = sum(len(label["boxes"]) for batch in batches for label in batch["labels"])
        count = torch.tensor([float(boxes), float(max(1, len(batches)))], device=device)
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(count)
        mean = count[0].clamp(min=1) / count[1]
        self.guard.begin(batches, mean)
        return batches, mean

    def files_of(self, batch: dict[str, Any]) -> list[Path]:
        """The images of a training batch."""
        records = batch["records"].tolist()
        return [self.order.dataset.records[record].path for record in records if record != NOBODY]

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The criterion of the model on one micro-batch; zero for one of nobody.

        What dropout draws depends on the images and the epoch, not on which process it is and what it did before.
        """
        records = inputs["records"].tolist()
        torch.manual_seed(seed_for(self.args.seed, self.order.epoch, *(record - NOBODY for record in records)))
        names = ("pixel_values", "pixel_mask", "labels")
        outputs = model(**{name: inputs[name] for name in names}, num_boxes=num_items_in_batch)
        loss = self.guard.weighed(outputs.loss) * (records != [NOBODY])
        return (loss, outputs) if return_outputs else loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Tensor | float | None = None) -> Tensor | float:
        """The Trainer asks just before an update is followed."""
        norm = super()._get_grad_norm(model, grad_norm)
        self.guard.check(model, norm)
        return norm

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: the Trainer would walk every module at every step, and its estimate is for language models."""
        return 0

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """COCO numbers on val, logged and handed to the callbacks."""
        rank, world = self.args.process_index, self.args.world_size
        if self.whole:
            gather(self.detector, self.whole)
        loader = DataLoader(
            self.val_images,
            batch_size=self.args.per_device_eval_batch_size,
            sampler=range(rank, len(self.val.records), world),
            collate_fn=Collate(self.processor, train=False),
            num_workers=self.args.dataloader_num_workers,
            worker_init_fn=outlive_first_signal,
        )
        with Progress("evaluating") as progress:
            self.found = collect(self.judged, self.processor, loader, self.val, self.args.device, progress)
            self.summary = self.found.summary()
        metrics = {f"eval_{name}": value for name, value in self.summary.items() if isinstance(value, float)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        scores = [entry["eval_AP"] for entry in self.state.log_history if "eval_AP" in entry]
        self.control.should_training_stop |= has_waited(scores, self.plan.patience)
        return metrics
