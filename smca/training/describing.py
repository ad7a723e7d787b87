"""What a run says before it begins: its data, its plan, its arithmetic."""

from __future__ import annotations

import torch
from transformers import TrainingArguments

from smca.data.reading import DataSet
from smca.data.records import Split
from smca.modeling.precision import has_bfloat16, has_float16
from smca.training.recipe import Recipe


def describe(data: DataSet, recipe: Recipe, device: torch.device) -> list[str]:
    """What was found in the data, how much there is of it, and the plan."""
    splits: list[Split] = [data.train, *([data.val] if data.val else [])]
    lines = [line for split in splits for line in split.findings.lines()]
    sizes = ", ".join(f"{len(split.records)} {split.name}" for split in splits)
    plan = recipe.optimisation
    lines.append(f"{sizes} images, {len(data.train.class_names)} classes")
    lines.append(
        f"{recipe.name}: {plan.epochs} epochs, batch {plan.batch}, learning rate {plan.lr:g} "
        f"(backbone {plan.backbone_lr:g}), short side {recipe.image_size}, {_arithmetic(recipe, device)}, "
        f"on {device.type}"
    )
    return lines


def steps(arguments: TrainingArguments, recipe: Recipe) -> str:
    """How an update's images are made up."""
    processes, micro = arguments.world_size, arguments.per_device_train_batch_size
    times = arguments.gradient_accumulation_steps
    return f"an update: {recipe.optimisation.batch} images = {processes} processes x {times} steps x {micro} images"


def _arithmetic(recipe: Recipe, device: torch.device) -> str:
    """The precision as it will be, and why, where it is not the recipe's."""
    if recipe.optimisation.precision == "bf16" and not has_bfloat16(device):
        return "fp32 (no bfloat16 arithmetic here)"
    if recipe.optimisation.precision == "fp16" and not has_float16(device):
        return "fp32 (no float16 arithmetic here)"
    if recipe.optimisation.precision == "fp16" and device.type == "cpu":
        return "fp16 (slower than fp32 on a CPU)"
    return recipe.optimisation.precision
