"""Recipes as they stand, as YAML, and as options change them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from smca.errors import ConfigurationError
from smca.training.launch import resolved_recipe, resolved_yaml
from smca.training.recipe import Optimisation, Recipe, from_yaml
from smca.training.recipes import all_recipes, find_recipe
from smca.training.request import TrainRequest

EVERY = pytest.mark.parametrize("recipe", all_recipes(), ids=lambda recipe: recipe.name)


def resolved(name: str, *overrides: str, **options: Any) -> Recipe:
    return resolved_recipe(TrainRequest(data=Path("data"), recipe=name, overrides=overrides, **options))


def test_names_are_the_contract() -> None:
    names = {recipe.name for recipe in all_recipes()}
    assert names >= {"smca-r50", "smca-r50-single-scale", "smca-r101", "smca-medium", "smca-small", "smca-tiny"}
    assert names >= {"detr-r50", "detr-tiny"}
    assert len(names) == len(all_recipes())


@EVERY
def test_printed_configuration_is_the_recipe(recipe: Recipe, tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(resolved_yaml(TrainRequest(data=Path("data"), recipe=recipe.name)))
    again = from_yaml(file)
    assert again.config().to_dict() == recipe.config().to_dict()
    assert dataclasses.replace(again, model={}) == dataclasses.replace(recipe, model={})
    assert again.to_yaml() == file.read_text()


def test_a_yaml_file_is_a_recipe_that_options_change(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(resolved_yaml(TrainRequest(data=Path("data"), recipe="smca-tiny", overrides=("d_model=64",))))
    recipe = resolved(str(file), epochs=9)
    assert (recipe.config().d_model, recipe.optimisation.epochs) == (64, 9)


def test_a_yaml_file_may_name_only_what_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("model: {backbone: resnet18}\nimage_size: 400\noptimisation: {lr: 1e-3, epochs: 2}\n")
    recipe = from_yaml(file)
    assert recipe.name == "mine"
    assert recipe.config().backbone == "resnet18"
    assert recipe.optimisation == Optimisation(lr=1e-3, epochs=2)
    assert recipe.augmentation.short_sides[-1] == 400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a mapping"),
        ("- a\n- b", "not a recipe"),
        ("model: [", "not a recipe"),
        ("model: {}\nimage_sise: 320", "Did you mean 'image_size'?"),
        ("model: {}\noptimisation: {epoch: 3}", "Did you mean 'epochs'?"),
        ("model: {}\noptimisation: {epochs: ten}", "epochs takes a int"),
        ("model: {}\naugmentation: {flip: 2.0}", "flip must lie in 0..1"),
        ("model: {}\norigin: {author: me}", "author"),
        ("name: x\norigin: {description: y}", "model"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"bad\.yaml is not a recipe") as caught:
        from_yaml(file)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml"):
        resolved(str(tmp_path / "nowhere.yaml"))


def test_overrides_reach_model_plan_and_augmentation() -> None:
    recipe = resolved(
        "smca-tiny", "num_queries=9", "levels=[c4, c5]", "lr=1e-3", "weight_decay=0", "flip=0", "long_side=700"
    )
    assert (recipe.config().num_queries, recipe.config().levels) == (9, ("c4", "c5"))
    assert (recipe.optimisation.lr, recipe.optimisation.weight_decay) == (1e-3, 0.0)
    assert recipe.augmentation.flip == 0


def test_a_whole_number_stands_for_a_float(tmp_path: Path) -> None:
    assert resolved("smca-tiny", "giou_weight=4").config().giou_weight == 4
    file = tmp_path / "mine.yaml"
    file.write_text(find_recipe("smca-tiny").to_yaml().replace("bandwidth: 8.0", "bandwidth: 2"))
    assert from_yaml(file).config().bandwidth == 2


def test_a_list_needs_no_brackets() -> None:
    recipe = resolved("smca-tiny", "levels=c5", "backbone_widths=8,16,24,32,40", "short_sides=224,256")
    assert recipe.config().levels == ("c5",)
    assert recipe.config().backbone_widths == (8, 16, 24, 32, 40)
    assert recipe.augmentation.short_sides == (224, 256)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("num_querys=9", "Did you mean 'num_queries'?"),
        ("epoch=9", "Did you mean 'epochs'?"),
        ("flap=0", "Did you mean 'flip'?"),
        ("epochs", "KEY=VALUE"),
        ("epochs=ten", "epochs takes a int such as"),
        ("epochs=2.5", "epochs takes a int"),
        ("lr=fast", "lr takes a float"),
        ("lr=true", "lr takes a float"),
        ("giou_weight=big", "giou_weight takes a float"),
        ("short_sides=wide", "short_sides takes whole numbers"),
        ("levels=[c4", "levels"),
        ("schedule=cosin", "allowed: step, cosine"),
        ("precision=fp8", "allowed: fp32, bf16"),
        ("epochs=0", "epochs is 0; allowed: 1 or more"),
        ("lr=-1", "lr is -1.0; allowed: 0 or more"),
        ("lr=.inf", "lr is inf"),
        ("flip=3", "flip must lie in 0..1"),
        ("image_size=0", "image_size is 0; allowed: 1 or more"),
    ],
)
def test_wrong_overrides_are_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolved("smca-tiny", override)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("num_queries=many", "expected int, got str"),
        ("levels=[c5, c4]", "fine to coarse"),
        ("modulation=some", "'multi-head'"),
        ("d_model=30", "d_model is 30"),
    ],
)
def test_wrong_switches_are_refused_when_the_model_is_configured(override: str, message: str) -> None:
    recipe = resolved("smca-tiny", override)
    with pytest.raises(ConfigurationError) as caught:
        recipe.config(("cat",))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@EVERY
@pytest.mark.parametrize("factor", [0.5, 4])
def test_batch_changes_learning_rates_by_its_square_root(recipe: Recipe, factor: float) -> None:
    before = recipe.optimisation
    after = resolved(recipe.name, batch=int(before.batch * factor)).optimisation
    assert after.lr == pytest.approx(before.lr * math.sqrt(factor))
    assert after.backbone_lr == pytest.approx(before.backbone_lr * math.sqrt(factor))
    assert dataclasses.replace(after, batch=before.batch, lr=before.lr, backbone_lr=before.backbone_lr) == before


@pytest.mark.parametrize("option", ["batch", "epochs", "image_size"])
def test_nothing_of_something_is_refused(option: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{option} is 0; allowed: 1 or more"):
        resolved("smca-small", **{option: 0})


def test_learning_rate_is_taken_as_given_and_the_backbone_follows() -> None:
    plan = resolved("smca-r50", batch=32, lr=5e-4).optimisation
    assert (plan.lr, plan.backbone_lr) == (pytest.approx(5e-4), pytest.approx(5e-5))


@pytest.mark.parametrize("name", ["smca-r50", "smca-tiny"])
@pytest.mark.parametrize("how", ["--image-size", "--set"])
def test_image_size_scales_every_length(name: str, how: str) -> None:
    before = find_recipe(name)
    size = before.image_size // 2
    after = resolved(name, image_size=size) if how == "--image-size" else resolved(name, f"image_size={size}")
    assert (after.image_size, after.long_side) == (size, round(before.long_side / 2))
    old, new = before.augmentation, after.augmentation
    assert new.short_sides == tuple(round(side / 2) for side in old.short_sides)
    assert new.crop_resize == tuple(round(side / 2) for side in old.crop_resize)
    halves = [round(side / 2) for side in (old.long_side, old.crop_smallest, old.crop_largest)]
    assert [new.long_side, new.crop_smallest, new.crop_largest] == halves
    assert (new.flip, new.crop, new.jitter) == (old.flip, old.crop, old.jitter)
    assert after.config().to_dict() == before.config().to_dict()


def test_other_options_replace_the_recipes_own() -> None:
    request = TrainRequest(data=Path("data"), recipe="smca-r50", epochs=12, precision="bf16", backbone_weights="none")
    recipe = resolved_recipe(request)
    assert (recipe.optimisation.epochs, recipe.optimisation.precision, recipe.backbone_weights) == (12, "bf16", "none")
    assert recipe.optimisation.drop_at == find_recipe("smca-r50").optimisation.drop_at


def test_unknown_recipe_lists_the_nearest() -> None:
    with pytest.raises(ConfigurationError) as caught:
        find_recipe("smca-r50-5-infra")
    message = str(caught.value)
    assert message.startswith(
        "no recipe 'smca-r50-5-infra'. Did you mean 'smca-r50-5-intra'? Near it: smca-r50-3-intra,"
    )
    assert message.endswith(
        f". Allowed: the {len(all_recipes())} names of `smca recipes`, SYSTEM-SIZE of `smca compare`, or a YAML file"
    )


def test_a_name_like_no_other_says_where_all_are() -> None:
    with pytest.raises(ConfigurationError, match=r"no recipe 'yolo'\. Allowed: the \d+ names of `smca recipes`"):
        find_recipe("yolo")


def test_paper_recipes_are_the_papers_settings() -> None:
    for recipe in (find_recipe(name) for name in ("smca-r50", "smca-r50-single-scale", "smca-r101")):
        plan, config = recipe.optimisation, recipe.config()
        assert (plan.lr, plan.backbone_lr, plan.weight_decay, plan.clip) == (1e-4, 1e-5, 1e-4, 0.1)
        assert (plan.epochs, plan.schedule, plan.drop_at * plan.epochs) == (50, "step", 40)
        assert (config.num_queries, config.dropout, config.attention_dropout, config.num_heads) == (300, 0.1, 0.1, 8)
        assert (recipe.image_size, recipe.long_side, recipe.augmentation.crop) == (800, 1333, 0.5)
        assert recipe.augmentation.short_sides == tuple(range(480, 801, 32))
        assert recipe.expected_ap is not None
        assert recipe.measured_by == "the paper"
