"""Every recipe builds, trains a step on scenes and prints its parameters; the paper's rows are as the paper says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from smca.data.reading import read_data
from smca.modeling.detector import SmcaForObjectDetection
from smca.progress import Progress
from smca.training import launch
from smca.training.info import count_gmacs
from smca.training.recipe import Recipe
from smca.training.recipes import GROUPS, all_recipes, find_recipe
from smca.training.recipes.rows import hours
from smca.training.request import TrainRequest
from smca.training.run_folder import RunFolder

EVERY = pytest.mark.parametrize("recipe", all_recipes(), ids=lambda recipe: recipe.name)
MAKERS = {make().name: make for title, makers in GROUPS.items() if title != "Small machines" for make in makers}
ROWS = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


class Row(NamedTuple):
    """What the paper says of a row, and the millions of trainable parameters that its settings must come to."""

    ap: float | None
    epochs: int
    millions: float
    sure: bool = True


PAPER = {
    "smca-r50": Row(43.7, 50, 39.53),
    "smca-r50-108": Row(45.6, 108, 39.53),
    "smca-r101": Row(44.4, 50, 58.69),
    "smca-r101-108": Row(46.3, 108, 58.69),
    "smca-r50-single-scale": Row(41.0, 50, 41.54),
    "smca-r50-single-scale-108": Row(42.7, 108, 41.54),
    "smca-r50-single-scale-250": Row(43.5, 250, 41.54),
    "smca-r50-released": Row(44.4, 50, 40.76),
    "smca-r101-released": Row(45.7, 50, 59.70),
    "detr-r50-50": Row(34.8, 50, 41.35),
    "smca-r50-head-shared": Row(40.2, 50, 41.49),
    "smca-r50-head-shared-b16": Row(40.2, 50, 41.49, sure=False),
    "smca-r50-head-shared-b32": Row(39.9, 50, 41.49, sure=False),
    "smca-r50-fixed-spread": Row(38.5, 50, 41.51),
    "smca-r50-single-spread": Row(40.4, 50, 41.52, sure=False),
    "smca-r50-5-intra": Row(43.3, 50, 39.5),
    "smca-r50-3-intra": Row(42.9, 50, 37.9, sure=False),
    "smca-r50-3-multi": Row(43.3, 50, 37.9, sure=False),
    "smca-r50-5-multi": Row(None, 50, 39.5),
    "smca-r50-no-selection": Row(42.6, 50, 39.5),
    "smca-r50-shared-ffn": Row(43.0, 50, 42.2, sure=False),
    "smca-r50-shared-attention": Row(42.8, 50, 44.7, sure=False),
    "smca-r50-nothing-shared": Row(42.3, 50, 47.3, sure=False),
    "detr-r50": Row(42.0, 500, 41.30),
    "detr-dc5-r50": Row(43.3, 500, 41.30),
    "detr-r101": Row(43.5, 500, 60.24),
    "detr-dc5-r101": Row(44.9, 500, 60.24),
}


def test_every_row_is_there_once() -> None:
    assert set(MAKERS) == set(PAPER)
    models = [(str(sorted(make().model.items())), make().optimisation) for make in MAKERS.values()]
    assert len({str(model) for model in models}) == len(MAKERS)


@ROWS
def test_a_row_repeats_the_paper(make: Callable[[], Recipe]) -> None:
    recipe = make()
    row = PAPER[recipe.name]
    whose = "the authors" if "released" in recipe.name or row.epochs == 250 else "the paper"
    assert (recipe.expected_ap, recipe.optimisation.epochs) == (row.ap, row.epochs)
    assert recipe.measured_by == ("-" if row.ap is None else whose if row.sure else f"{whose} (recalled)")
    assert recipe.backbone_weights == "imagenet"
    assert find_recipe(recipe.name) == recipe


@ROWS
def test_a_header_agrees_with_its_recipe(make: Callable[[], Recipe]) -> None:
    """A reader of the source sees what `smca recipes` prints."""
    recipe, header = make(), " ".join((make.__doc__ or "").split())
    known = f"{recipe.expected_ap} AP by {recipe.measured_by}" if recipe.expected_ap else "no AP of it is known here"
    facts = f"{recipe.paper_row}: {known}; {recipe.hardware}, hours: {recipe.hours}; `{recipe.command}`."
    assert header.startswith(facts)
    assert make.__name__ == recipe.name.replace("-", "_")


@ROWS
def test_hours_and_parameters_are_those_of_the_model(make: Callable[[], Recipe]) -> None:
    recipe = make()
    with torch.device("meta"):
        model = SmcaForObjectDetection(recipe.config())
        pixels = torch.empty(1, 3, 800, 1066)
    frozen = 0.22 if recipe.name in ("smca-r101", "smca-r101-108") else 0  # of R101 the total is known
    millions = sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6
    assert millions + frozen == pytest.approx(PAPER[recipe.name].millions, rel=0.005)
    expected = hours(sum(count_gmacs(model, pixels).values()), recipe.optimisation.epochs)
    number, how = recipe.hours.split()
    assert float(number) == pytest.approx(expected, rel=0.02, abs=0.5)
    assert how == "computed"


def test_hours_are_the_authors_own() -> None:
    """30 minutes an epoch of single-scale SMCA, 28 of DETR-R50, both on eight V100."""
    assert hours(84, epochs=1) * 60 == pytest.approx(30, rel=0.05)
    assert hours(81.2, epochs=1) * 60 == pytest.approx(28, rel=0.05)


def unread(model: SmcaForObjectDetection) -> set[str]:
    """Weights of a plain backbone's last stage, where no level is that coarse (detr-tiny)."""
    coarse = {"c5", "c6"} & set(model.config.levels)
    return set() if coarse else {name for name, _ in model.named_parameters() if ".stages.4." in name}


@pytest.fixture
def no_denormals() -> None:
    """As every command sets it; far from their centres the maps of random weights are full of them."""
    torch.set_flush_denormal(True)


@EVERY
@pytest.mark.usefixtures("no_denormals")
def test_every_recipe_trains_a_step_on_scenes(recipe: Recipe, scenes: Path, tmp_path: Path) -> None:
    request = TrainRequest(scenes, recipe.name, tmp_path / "run", batch=2, image_size=64, workers=0, device="cpu")
    small = launch.resolved_recipe(request)
    split = read_data(scenes)
    torch.manual_seed(0)
    model = SmcaForObjectDetection(small.config(split.train.class_names))
    folder = RunFolder(tmp_path / "run")
    arguments = launch._arguments(folder, request, small)
    trainer = launch._trainer(folder, arguments, request, small, model, split, Progress("training"))
    model.train()
    loss = trainer.compute_loss(model, next(iter(trainer.get_train_dataloader())))
    loss.backward()
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    total, training = model.num_parameters(), sum(p.numel() for p in trained.values())
    sys.stdout.write(f"{recipe.name}: {training:,} of {total:,} parameters train\n")
    assert loss.isfinite()
    assert {name for name, parameter in trained.items() if parameter.grad is None} == unread(model)
    assert all(p.grad.isfinite().all() for p in trained.values() if p.grad is not None)
    before = model.class_head.weight.detach().clone()
    trainer.create_optimizer().step()
    assert (model.class_head.weight != before).all()
    assert model.config.id2label == dict(enumerate(split.train.class_names))
