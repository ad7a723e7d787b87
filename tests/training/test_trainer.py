"""The schedule, the groups of parameters, the normaliser, and one update of the trainer."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from accelerate.data_loader import DataLoaderShard
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

from smca.progress import Progress
from smca.training import launch
from smca.training.recipe import Optimisation
from smca.training.run_folder import RunFolder
from smca.training.trainer import DetectionTrainer, rate_factor
from smca.training.weights import freeze
from tests.training.runs import small_request

PLANS = st.builds(
    Optimisation,
    schedule=st.sampled_from(["step", "cosine"]),
    warmup=st.floats(0, 0.5),
    drop_at=st.floats(0.5, 1),
)


def small_trainer(
    data: Path, out: Path, *overrides: str, frozen: tuple[str, ...] = (), precision: str = "fp32"
) -> DetectionTrainer:
    """A trainer as `smca train` makes it, before it trains; always the same weights."""
    request = small_request(data, out, *overrides, precision=precision)
    recipe = launch.resolved_recipe(request)
    split = launch.read_data(data)
    torch.manual_seed(0)
    model = launch.new_detector(recipe.config(split.train.class_names))
    freeze(model, frozen)
    folder = RunFolder(out)
    arguments = launch._arguments(folder, request, recipe)
    return launch._trainer(folder, arguments, request, recipe, model, split, Progress("training"))


def gradients(trainer: DetectionTrainer) -> dict[str, Tensor]:
    """What the first update would follow, dropout off: summed over its micro-batches as the Trainer does."""
    model = trainer.detector.eval()
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    batches = iter(trainer.get_train_dataloader())
    chosen, boxes = trainer.get_batch_samples(batches, trainer.args.gradient_accumulation_steps, trainer.args.device)
    for batch in chosen:
        loss = trainer.compute_loss(model, batch, num_items_in_batch=boxes)
        (loss / trainer.current_gradient_accumulation_steps).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@given(PLANS, st.integers(1, 500))
def test_rates_rise_during_warm_up_and_fall_afterwards(plan: Optimisation, steps: int) -> None:
    rates = [rate_factor(plan, step, steps) for step in range(steps)]
    top = math.ceil(plan.warmup * steps)
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_a_step_schedule_drops_by_ten_once() -> None:
    plan = Optimisation(schedule="step", drop_at=0.8)
    rates = [rate_factor(plan, step, 50) for step in range(50)]
    assert rates == [1.0] * 40 + [0.1] * 10


def test_a_cosine_ends_near_zero_after_a_linear_warm_up() -> None:
    plan = Optimisation(schedule="cosine", warmup=0.1)
    rates = [rate_factor(plan, step, 100) for step in range(101)]
    assert rates[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert rates[10] == 1
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == 0.01


def test_micro_batches_add_up_to_the_gradient_of_the_batch(scenes: Path, tmp_path: Path) -> None:
    whole = gradients(small_trainer(scenes, tmp_path / "a", "micro_batch=4"))
    parts = gradients(small_trainer(scenes, tmp_path / "b", "micro_batch=2"))
    assert whole.keys() == parts.keys()
    largest = max(float(g.abs().max()) for g in whole.values())
    assert largest > 0
    assert all(torch.allclose(whole[name], parts[name], atol=1e-5 * largest, rtol=1e-3) for name in whole)


@pytest.mark.parametrize(
    ("batch", "micro", "expected"), [(4, 8, (4, 1)), (8, 4, (4, 2)), (10, 8, (5, 2)), (7, 4, (1, 7))]
)
def test_any_batch_is_cut_into_equal_micro_batches(
    batch: int, micro: int, expected: tuple[int, int], scenes: Path, tmp_path: Path
) -> None:
    request = small_request(scenes, tmp_path, f"micro_batch={micro}", batch=batch)
    arguments = launch._arguments(RunFolder(tmp_path), request, launch.resolved_recipe(request))
    assert (arguments.per_device_train_batch_size, arguments.gradient_accumulation_steps) == expected


def test_backbone_and_references_have_learning_rates_of_their_own(scenes: Path, tmp_path: Path) -> None:
    overrides = ("batch=4", "lr=3e-4", "backbone_lr=2e-5", "weight_decay=1e-3", "clip=0.25", "warmup=0")
    trainer = small_trainer(scenes, tmp_path, *overrides, "reference_factor=0.1")
    optimiser = trainer.create_optimizer()
    rest, backbone, reference = optimiser.param_groups
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([3e-4, 2e-5, 3e-5])
    centre = "decoder.layers.0.centre."
    named = trainer.detector.named_parameters()
    expected = [p for name, p in named if name.startswith((centre, "decoder.query_position."))]
    assert len(expected) == 7
    assert {id(p) for p in reference["params"]} == {id(p) for p in expected}
    assert {id(p) for p in backbone["params"]} == {id(p) for p in trainer.detector.backbone.parameters()}
    assert sum(len(group["params"]) for group in optimiser.param_groups) == len(list(trainer.detector.parameters()))
    assert rest["weight_decay"] == backbone["weight_decay"] == 1e-3
    assert trainer.args.max_grad_norm == 0.25
    trainer.create_scheduler(10)
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([3e-4, 2e-5, 3e-5])


def test_a_frozen_backbone_has_no_group(scenes: Path, tmp_path: Path) -> None:
    trainer = small_trainer(scenes, tmp_path, frozen=("backbone",))
    assert len(trainer.create_optimizer().param_groups) == 2


def test_gradients_are_clipped(scenes: Path, tmp_path: Path) -> None:
    norms: list[float] = []

    def note(optimiser: Optimizer, *_: object) -> None:
        found = [p.grad.norm() for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
        norms.append(float(torch.stack(found).norm()))

    hook = register_optimizer_step_pre_hook(note)
    try:
        small_trainer(scenes, tmp_path, "clip=0.001").train()
    finally:
        hook.remove()
    assert norms == pytest.approx([0.001] * 4, rel=0.01)


@pytest.mark.parametrize("modulation", ["multi-head", "none"])
def test_an_update_changes_what_trains_and_nothing_frozen(modulation: str, scenes: Path, tmp_path: Path) -> None:
    overrides = (f"modulation={modulation}", "lr=0.01", "backbone_lr=0.01", "warmup=0", "weight_decay=0.01")
    trainer = small_trainer(scenes, tmp_path, *overrides, frozen=("backbone.body.stages.0", "encoder"))
    before = {name: p.detach().clone() for name, p in trainer.detector.named_parameters()}
    trainer.args.max_steps = 3
    trainer.train()
    for name, parameter in trainer.detector.named_parameters():
        assert torch.equal(parameter, before[name]) != parameter.requires_grad, name
    assert {name.split(".")[0] for name, p in trainer.detector.named_parameters() if not p.requires_grad} == {
        "backbone",
        "encoder",
    }


@pytest.mark.parametrize("workers", [0, 2])
def test_every_epoch_draws_anew_in_every_worker(workers: int, scenes: Path, tmp_path: Path) -> None:
    trainer = small_trainer(scenes, tmp_path, "jitter=0.5")
    trainer.args.dataloader_num_workers = workers
    trainer.args.dataloader_persistent_workers = workers > 0
    loader = trainer.get_train_dataloader()
    assert isinstance(loader, DataLoaderShard)
    seen: list[dict[int, Tensor]] = []
    for epoch in (0, 1, 0):
        loader.set_epoch(epoch)
        batches = [(batch["records"].tolist(), batch["pixel_values"]) for batch in loader]
        seen.append({record: images[i] for records, images in batches for i, record in enumerate(records)})
        assert len(seen[-1]) == 8
    same = [torch.equal(seen[0][record], seen[1][record]) for record in range(8)]
    assert not any(same)
