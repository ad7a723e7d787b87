"""Updates whose numbers are not finite: found, named, kept, and never followed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from smca.criterion import SetCriterion
from smca.errors import TrainingError
from smca.modeling.precision import has_float16
from smca.training import launch
from smca.training.bad_batches import FOLDER, KEPT, BadBatches
from smca.training.finite import require_finite
from smca.training.run_folder import RunFolder
from smca.training.trainer import DetectionTrainer
from tests.training.bad_pictures import BAD, on_two_processes, spoil
from tests.training.runs import small_request
from tests.training.test_trainer import small_trainer

NAN = float("nan")
SKIP = "non_finite=skip"
FP16 = pytest.mark.skipif(not has_float16(torch.device("cpu")), reason="this processor has no float16 arithmetic")


def rows(trainer_or_run: DetectionTrainer | Path) -> list[dict[str, Any]]:
    bad = BadBatches(trainer_or_run / FOLDER) if isinstance(trainer_or_run, Path) else trainer_or_run.guard.bad
    return bad.rows()


def state_of(trainer: DetectionTrainer) -> dict[str, Tensor]:
    """All that an update changes: weights and statistics, their average, the optimiser's moments."""
    moments = trainer.optimizer.state_dict()["state"] if trainer.optimizer else {}
    found = dict(trainer.detector.state_dict())
    found |= {f"average.{name}": value for name, value in trainer.judged.state_dict().items()}
    found |= {f"{place}.{name}": value for place, one in moments.items() for name, value in one.items()}
    return {name: value.detach().clone() for name, value in found.items()}


def part_of(trainer: DetectionTrainer, name: str) -> nn.Module:
    return cast(nn.Module, trainer.detector).get_submodule(name)


def break_output(trainer: DetectionTrainer, name: str, update: int) -> None:
    """In that update the module's output is NaN, also when it is repeated."""

    def spoilt(_: nn.Module, __: object, output: Tensor) -> Tensor:
        return output * NAN if trainer.state.global_step == update - 1 else output

    part_of(trainer, name).register_forward_hook(spoilt)


def break_gradient(trainer: DetectionTrainer, name: str) -> None:
    """What comes back to the module's output is infinite, always."""

    def spoilt(_: nn.Module, __: object, output: Tensor) -> None:
        if output.requires_grad:
            output.register_hook(lambda gradient: gradient * math.inf)

    part_of(trainer, name).register_forward_hook(spoilt)


def test_the_module_whose_output_broke_is_named(scenes: Path, tmp_path: Path) -> None:
    trainer = small_trainer(scenes, tmp_path, "dropout=0.1")
    break_output(trainer, "decoder.layers.1.ffn.0", update=2)
    with pytest.raises(
        TrainingError, match=r"update 2 is not finite: output of decoder\.layers\.1\.ffn\.0 has"
    ) as caught:
        trainer.train()
    assert "\n" not in str(caught.value)
    assert f"smca resume {tmp_path}" in str(caught.value)
    (row,) = rows(trainer)
    assert (row["update"], row["tensor"], row["module"]) == (2, "output", "decoder.layers.1.ffn.0")
    assert all(Path(file).is_file() for file in row["files"])
    batch = load_file(tmp_path / FOLDER / row["batch"])
    assert [str(file) for file in trainer.files_of(batch)] == row["files"]
    assert batch["pixel_values"].shape == (4, 3, 64, 64)
    assert batch["labels.3.boxes"].shape[1] == 4


def test_the_module_whose_gradient_broke_is_named(scenes: Path, tmp_path: Path) -> None:
    trainer = small_trainer(scenes, tmp_path)
    break_gradient(trainer, "encoder.blocks.0.norm1.0")
    with pytest.raises(TrainingError, match=r"gradient of the output of encoder\.blocks\.0\.norm1\.0"):
        trainer.train()


def test_a_loss_that_is_not_finite_counts_where_its_gradients_are(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = small_trainer(scenes, tmp_path)
    score = SetCriterion._score

    def infinite(*inputs: Any) -> tuple[Tensor, dict[str, Tensor]]:
        loss, parts = score(*inputs)
        return loss + math.inf, parts

    monkeypatch.setattr(SetCriterion, "_score", infinite)
    with pytest.raises(TrainingError, match=r"update 1 is not finite: output of criterion has 1 infinity"):
        trainer.train()


def test_broken_weights_end_a_run_that_may_skip(scenes: Path, tmp_path: Path) -> None:
    trainer = small_trainer(scenes, tmp_path, SKIP)
    with torch.no_grad():
        part_of(trainer, "decoder.norm").get_parameter("weight")[1] = math.inf
    with pytest.raises(TrainingError, match=r"weight of decoder\.norm has 1 infinity in 16 numbers.*beyond repair"):
        trainer.train()


def test_skipping_without_end_ends(scenes: Path, tmp_path: Path) -> None:
    trainer = small_trainer(scenes, tmp_path, SKIP)
    trainer.args.num_train_epochs = 20
    break_gradient(trainer, "encoder.blocks.0.norm1.0")
    with pytest.raises(TrainingError, match=r"update 11 is not finite.*beyond repair"):
        trainer.train()
    assert [row["update"] for row in rows(trainer)] == list(range(1, 12))
    assert len(list((tmp_path / FOLDER).glob("*.safetensors"))) == KEPT


def test_a_skipped_update_changes_nothing(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of the micro-batches breaks, and with it the running statistics of batch norm."""
    spoil(monkeypatch, range(8))
    trainer = small_trainer(scenes, tmp_path, SKIP, "averaging=0.9", "micro_batch=2", "backbone_norm=batch")
    trainer.args.max_steps = 1
    trainer.create_optimizer_and_scheduler(4)
    before = state_of(trainer)
    trainer.train()
    assert len(rows(trainer)) == 2
    after = state_of(trainer)
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


@pytest.mark.parametrize(
    ("precision", "overrides"),
    [("fp32", ("dropout=0.1", "averaging=0.9", "micro_batch=2")), pytest.param("fp16", (), marks=FP16)],
    ids=["fp32, accumulating, averaging", "fp16"],
)
def test_a_run_that_skips_and_was_killed_ends_as_one_that_was_not(
    precision: str,
    overrides: tuple[str, ...],
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(monkeypatch)
    options = {"epochs": 2, "precision": precision}
    whole = launch.train(small_request(scenes, tmp_path / "whole", *overrides, SKIP, **options))
    parts = launch.train(small_request(scenes, tmp_path / "parts", *overrides, SKIP, **options))
    (parts / "checkpoints" / "checkpoint-4" / "trainer_state.json").unlink()
    launch.resume(parts)
    found = rows(whole)
    assert len({row["update"] for row in found}) == 2
    assert [{**row, "files": None} for row in rows(parts)] == [{**row, "files": None} for row in found]
    one, other = (load_file(run / "last" / "model.safetensors") for run in (whole, parts))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    numbers = [[(row["epoch"], row["loss"]) for row in RunFolder(run).metrics()] for run in (whole, parts)]
    assert numbers[0] == numbers[1]
    assert all(10 < loss < 20 for _, loss in numbers[0])  # a mean over the updates that count


def test_a_stopped_run_goes_on_once_its_recipe_says_skip(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch)
    run = tmp_path / "run"
    with pytest.raises(TrainingError, match=f"pixels of the batch.*train_{BAD:05d}"):
        launch.train(small_request(scenes, run))
    with pytest.raises(TrainingError):
        launch.resume(run)
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("non_finite: stop", "non_finite: skip"))
    launch.resume(run)
    assert [row["epoch"] for row in RunFolder(run).metrics()] == [1, 2]
    assert all(value.isfinite().all() for value in load_file(run / "last" / "model.safetensors").values())


@FP16
def test_float16_waits_for_its_scale_and_resumes_with_it(scenes: Path, tmp_path: Path) -> None:
    kinds: set[torch.dtype] = set()

    def note(_: nn.Module, __: object, output: Tensor) -> None:
        kinds.add(output.dtype)

    trainer = small_trainer(scenes, tmp_path, "averaging=0.9", precision="fp16")
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    part_of(trainer, "encoder.blocks.0.value.0").register_forward_hook(note)
    trainer.create_optimizer_and_scheduler(4)
    trainer.args.max_steps = 1
    before = state_of(trainer)
    trainer.train()
    after = state_of(trainer)
    assert torch.float16 in kinds
    assert trainer.guard.overflows == 1
    assert rows(trainer) == []
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert torch.load(tmp_path / "checkpoints" / "checkpoint-1" / "scaler.pt")["scale"] == 2.0**39


def test_loops_without_a_guard_stop_too() -> None:
    require_finite(torch.tensor(1.0), "warm-up")
    with pytest.raises(TrainingError, match="warm-up: the loss or its gradients are not finite"):
        require_finite(torch.tensor(NAN), "warm-up")


@pytest.mark.slow
def test_two_processes_decide_alike(scenes: Path, tmp_path: Path) -> None:
    """Of the two one alone has the bad picture; that both stop is in benchmarks/soak/finite.py."""
    done = on_two_processes(scenes, tmp_path / "run", SKIP)
    assert done.returncode == 0, done.stderr
    assert [row["step"] for row in RunFolder(tmp_path / "run").metrics()] == [2, 4]
    found = rows(tmp_path / "run")
    assert {(row["part"], row["tensor"]) for row in found} == {(0, "pixels")}
    assert len(found) == 2
    assert done.stdout.count("2 updates were left out") == 1
