"""From a request to a run: read, check, build, warm up, train; and go on with a run that stopped.

Everything that can be refused is refused before anything is written.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import cast

from torch import distributed
from transformers import ProgressCallback, TrainingArguments, set_seed
from transformers.integrations import get_available_reporting_integrations
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK
from transformers.trainer_callback import PrinterCallback

from smca.data.dataset import TrainDataset
from smca.data.reading import DataSet, read_data
from smca.data.records import Split
from smca.data.transforms import Augmentation, TrainTransform
from smca.errors import ConfigurationError, DataError, OutputError, nearest
from smca.files import claim_folder
from smca.inference.interruption import AtOnce, stop_on_interrupt
from smca.inference.loading import pick_device
from smca.modeling.image_processing import SmcaImageProcessor
from smca.modeling.precision import has_bfloat16, has_float16
from smca.progress import Progress
from smca.training.bad_batches import FOLDER
from smca.training.beginning import initial_model
from smca.training.crop_warm_up import CropDataset, coarsest_levels, warm_up
from smca.training.describing import describe, steps
from smca.training.detector import Detector, new_detector
from smca.training.keeping import NOTICE, Keeper
from smca.training.precision import prepare_for_speed
from smca.training.recipe import Optimisation, Recipe, from_yaml, with_request
from smca.training.recipes import find_recipe
from smca.training.recipes.fine_tuning import fine_tuning
from smca.training.recorder import Recorder
from smca.training.report import RunReport
from smca.training.request import TrainRequest
from smca.training.run_folder import RunFolder
from smca.training.stopping import has_waited
from smca.training.trainer import DetectionTrainer
from smca.training.weights import freeze, load_backbone, start_from

SECONDS_TO_WAIT = 600  # for another process, before all end


def resolved_recipe(request: TrainRequest) -> Recipe:
    """The recipe of the request, or that of fine-tuning, with all its options applied."""
    if request.recipe is None and request.init is None:
        raise ConfigurationError("what to train? --recipe NAME (see `smca recipes`), or --init MODEL to fine-tune it")
    recipe = find_recipe(request.recipe) if request.recipe else fine_tuning(initial_model(str(request.init)))
    return with_request(recipe, request)


def resolved_yaml(request: TrainRequest) -> str:
    """The resolved recipe as YAML."""
    return resolved_recipe(request).to_yaml()


def train(request: TrainRequest) -> Path:
    """Train as asked; returns the run's folder."""
    recipe = resolved_recipe(request)
    pick_device(request.device)
    return train_on(request, recipe, _checked_data(request, recipe))


def train_on(request: TrainRequest, recipe: Recipe, data: DataSet, restart: bool = False) -> Path:
    """Train from the beginning, on data that was read; `restart` empties a run that stopped before its first
    checkpoint.
    """
    device = pick_device(request.device)
    folder = RunFolder(request.out or Path("runs") / f"{request.data.resolve().stem}-{recipe.name}")
    if not restart:
        _check_free(folder.path)
    set_seed(request.seed)
    model = new_detector(recipe.config(data.train.class_names))
    notes = [load_backbone(model.backbone, model.config.backbone, recipe.backbone_weights)]
    if request.init:
        beginning = start_from(model, request.init)
        notes = beginning if recipe.backbone_weights == "none" else [*notes, *beginning]
    freeze(model, request.freeze)
    progress = Progress("training")
    for line in [*describe(data, recipe, device), *notes]:
        progress.print(line)
    arguments = _arguments(folder, request, recipe)
    progress.print(steps(arguments, recipe))
    if request.dry_run:
        return folder.path
    with _claimed(folder, request, recipe, restart):
        trainer = _trainer(folder, arguments, request, recipe, model, data, progress)
        if not request.init:
            warm_backbone(model, data.train, recipe, request)
        with progress:
            _run(trainer)
    return folder.path


def resume(run: Path) -> Path:
    """Go on with a run where its newest whole checkpoint stands, or begin anew when it was stopped before the first."""
    folder = RunFolder(run)
    request = folder.read_request()
    recipe = from_yaml(run / "recipe.yaml")
    data = _checked_data(request, recipe)
    checkpoint, passed_over = folder.checkpoints.newest()
    if checkpoint is None and (passed_over or len(folder.metrics()) > 1):
        found = passed_over[0] if passed_over else f"{run} has lost its checkpoints"
        raise OutputError(f"{found}, and no other is there: go on from a model, smca train --init {run}/last")
    if checkpoint is None:
        return train_on(dataclasses.replace(request, out=run), recipe, data, restart=True)
    for line in passed_over:
        Progress("training").print(line)
    with _alone(folder):
        return _go_on(folder, checkpoint, request, recipe, data)


def _go_on(folder: RunFolder, checkpoint: Path, request: TrainRequest, recipe: Recipe, data: DataSet) -> Path:
    set_seed(request.seed)
    rows = folder.metrics(checkpoint)
    if _is_first_process():
        folder.go_back_to(checkpoint)
    if has_waited([row["AP"] or 0.0 for row in rows], recipe.optimisation.patience):
        Progress("training").print(f"stopped early at epoch {rows[-1]['epoch']}: nothing to go on with")
        return folder.path
    model = new_detector(recipe.config(data.train.class_names))
    freeze(model, request.freeze)
    with Progress("training") as progress:
        progress.print(f"going on from {checkpoint}")
        trainer = _trainer(folder, _arguments(folder, request, recipe), request, recipe, model, data, progress)
        _run(trainer, checkpoint)
    return folder.path


def _run(trainer: DetectionTrainer, checkpoint: Path | None = None) -> None:
    """Train, and leave the other processes together with them: one that leaves early may abort."""
    first = _is_first_process()
    keeper = next(one for one in trainer.callback_handler.callbacks if isinstance(one, Keeper))
    with stop_on_interrupt(NOTICE if first else "") as keeper.stop:
        try:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        except RuntimeError as error:
            if keeper.stop.is_set() and "DataLoader worker" in str(error):  # the signal ended one before it could save
                raise KeyboardInterrupt from error
            raise
        finally:
            if first and not isinstance(sys.exc_info()[1], AtOnce):
                keeper.finish()
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


def _checked_data(request: TrainRequest, recipe: Recipe) -> DataSet:
    data = read_data(
        request.data,
        strict=request.strict,
        val_fraction=request.val_fraction,
        seed=request.seed,
        format=request.format,
    )
    if not data.train.records:
        raise DataError(f"{request.data} has no usable training image")
    most = max((len(record.trainable[1]), str(record.path)) for record in data.train.records)
    queries = recipe.config().num_queries
    if most[0] > queries:
        raise ConfigurationError(
            f"{most[1]} has {most[0]} objects, more than the model's {queries} queries: "
            f"--set num_queries={most[0]} or more"
        )
    return data


def _check_free(path: Path) -> None:
    if _is_first_process() and path.exists() and (not path.is_dir() or any(path.iterdir())):
        hint = f"go on with it (smca resume {path}) or " if (path / "run.json").is_file() else ""
        raise OutputError(f"output folder {path} is in use: {hint}choose another --out")


@contextmanager
def _claimed(folder: RunFolder, request: TrainRequest, recipe: Recipe, restart: bool) -> Iterator[None]:
    """Make the run's folder, and write down what it is."""
    if _is_first_process() and not restart:
        claim_folder(folder.path, f"choose another, or go on with it: smca resume {folder.path}")
    with _alone(folder):
        if _is_first_process():
            folder.clear()
            folder.write_request(request, recipe.to_yaml())
        yield


def _alone(folder: RunFolder) -> AbstractContextManager[None]:
    """No other training, but for the processes of this one."""
    return folder.alone() if _is_first_process() else nullcontext()


def _is_first_process() -> bool:
    """Of a distributed run, the one that writes."""
    return os.environ.get("RANK", "0") == "0"


def warm_backbone(model: Detector, train: Split, recipe: Recipe, request: TrainRequest) -> None:
    """Let the backbone of `model` first learn to name and frame objects in crops, where the recipe wants that."""
    if not recipe.optimisation.crop_epochs or not any(part.requires_grad for part in model.backbone.parameters()):
        return
    plain = TrainTransform(Augmentation.none(recipe.image_size, recipe.long_side))
    levels = coarsest_levels(model.backbone)
    crops = CropDataset(train.records, plain, len(train.class_names), levels, request.seed)
    with Progress("backbone warm-up") as progress:
        warm_up(
            model.backbone,
            crops,
            recipe.optimisation.crop_epochs,
            SmcaImageProcessor.suited_to(model.config),
            _workers(request),
            model.device,
            progress,
            rate=None if recipe.backbone_weights == "none" else recipe.optimisation.backbone_lr,
        )


def _trainer(
    folder: RunFolder,
    arguments: TrainingArguments,
    request: TrainRequest,
    recipe: Recipe,
    model: Detector,
    data: DataSet,
    progress: Progress,
) -> DetectionTrainer:
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder.path / "tensorboard")
    size = {"shortest_edge": recipe.image_size, "longest_edge": recipe.long_side}
    processor = SmcaImageProcessor.suited_to(model.config, size)
    prepare_for_speed(model, arguments, recipe.optimisation.precision == "bf16", request.compile)
    images = TrainDataset(data.train.records, TrainTransform(recipe.augmentation), arguments.seed)
    val, bad_batches = data.val or data.train, folder.path / FOLDER
    trainer = DetectionTrainer(model, arguments, recipe.optimisation, images, val, processor, bad_batches)
    for shown in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(shown)
    report = RunReport(folder, trainer.val, recipe.optimisation.epochs, progress, request.device)
    recorder = Recorder(folder, progress, report)
    recorder.trainer = trainer
    trainer.guard.say = progress.print
    trainer.add_callback(recorder)
    trainer.add_callback(Keeper(folder, trainer, progress, report))
    return trainer


def _arguments(folder: RunFolder, request: TrainRequest, recipe: Recipe) -> TrainingArguments:
    plan = recipe.optimisation
    cpu = (device := pick_device(request.device)).type == "cpu"
    processes = _meet(plan, request.fsdp, cpu)
    share = plan.batch // processes
    micro = max(size for size in range(1, min(plan.micro_batch, share) + 1) if share % size == 0)
    return TrainingArguments(
        output_dir=str(folder.checkpoints.draft),
        num_train_epochs=plan.epochs,
        per_device_train_batch_size=micro,
        per_device_eval_batch_size=micro,
        gradient_accumulation_steps=share // micro,
        max_grad_norm=plan.clip,
        learning_rate=plan.lr,
        logging_strategy="epoch",
        logging_nan_inf_filter=False,
        eval_strategy="epoch",
        save_strategy="epoch",
        remove_unused_columns=False,
        dataloader_num_workers=_workers(request),
        dataloader_persistent_workers=_workers(request) > 0,
        report_to=_trackers(request),
        disable_tqdm=True,
        seed=request.seed,
        data_seed=request.seed,
        use_cpu=cpu,
        bf16=plan.precision == "bf16" and not cpu and has_bfloat16(device),
        fp16=plan.precision == "fp16" and has_float16(device),
        ddp_backend="gloo" if cpu and processes > 1 else None,
        ddp_find_unused_parameters=False if processes > 1 else None,
        ddp_timeout=SECONDS_TO_WAIT,
        fsdp=cast(str, request.fsdp),  # its hint is older than its values
        fsdp_config={"version": 2, "auto_wrap_policy": "NO_WRAP"} if request.fsdp else None,
    )


def _meet(plan: Optimisation, fsdp: bool, cpu: bool) -> int:
    """How many processes there are, once they can do what is asked; on a CPU they meet here.

    The Trainer would have them meet too, and wait half an hour for one that stands still.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if plan.batch % processes:
        raise ConfigurationError(
            f"batch {plan.batch} is not a multiple of {processes} processes; allowed: {processes}, {2 * processes}, ..."
        )
    if fsdp and processes == 1:
        raise ConfigurationError("--fsdp shards a model over several processes, and this is one: start it by torchrun")
    if fsdp and plan.averaging:
        raise ConfigurationError("--fsdp keeps no average of the weights: --set averaging=0, or leave --fsdp out")
    if cpu and processes > 1 and not distributed.is_initialized():
        distributed.init_process_group("gloo", timeout=timedelta(seconds=SECONDS_TO_WAIT))
    return processes


def _trackers(request: TrainRequest) -> list[str]:
    """The trackers asked for; they are transformers' own."""
    for name in request.report_to:
        if name not in INTEGRATION_TO_CALLBACK:
            allowed = ", ".join(sorted(INTEGRATION_TO_CALLBACK))
            raise ConfigurationError(
                f"--report-to knows no '{name}'.{nearest(name, INTEGRATION_TO_CALLBACK)} Allowed: {allowed}"
            )
        if name not in get_available_reporting_integrations():
            raise ConfigurationError(f"--report-to {name} needs its package: pip install {name}")
    return list(request.report_to)


def _workers(request: TrainRequest) -> int:
    """As asked; else none on up to two cores, where training itself keeps them busy, and up to eight on more."""
    if request.workers is not None:
        return request.workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if cores <= 2 else min(8, cores - 2)
