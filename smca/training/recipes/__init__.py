"""Every recipe, one function each, whose header says what to expect: the paper's rows exactly, and small ones of ours.

AP of the paper's rows was measured on COCO 2017 val by who is named, not here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from smca.errors import ConfigurationError, nearest
from smca.training.recipe import Recipe, from_yaml, is_file
from smca.training.recipes import ablations, detr, paper, small
from smca.training.recipes.contestants import by_full_name

GROUPS: dict[str, tuple[Callable[[], Recipe], ...]] = {
    "SMCA": (
        paper.smca_r50,
        paper.smca_r50_108,
        paper.smca_r101,
        paper.smca_r101_108,
        paper.smca_r50_single_scale,
        paper.smca_r50_single_scale_108,
        paper.smca_r50_single_scale_250,
        paper.smca_r50_released,
        paper.smca_r101_released,
    ),
    "Ablations, single-scale": (
        ablations.detr_r50_50,
        ablations.smca_r50_head_shared,
        ablations.smca_r50_head_shared_b16,
        ablations.smca_r50_head_shared_b32,
        ablations.smca_r50_fixed_spread,
        ablations.smca_r50_single_spread,
    ),
    "Ablations, multi-scale": (
        ablations.smca_r50_5_intra,
        ablations.smca_r50_3_intra,
        ablations.smca_r50_3_multi,
        ablations.smca_r50_5_multi,
        ablations.smca_r50_no_selection,
        ablations.smca_r50_shared_ffn,
        ablations.smca_r50_shared_attention,
        ablations.smca_r50_nothing_shared,
    ),
    "DETR": (detr.detr_r50, detr.detr_dc5_r50, detr.detr_r101, detr.detr_dc5_r101),
    "Small machines": (small.smca_medium, small.smca_small, small.smca_tiny, small.detr_tiny),
}


def all_recipes() -> list[Recipe]:
    """Every recipe, the paper's first."""
    return [make() for makers in GROUPS.values() for make in makers]


def find_recipe(name: str) -> Recipe:
    """The recipe of that name, or of that YAML file."""
    if is_file(name):
        return from_yaml(Path(name))
    recipes = {recipe.name: recipe for recipe in all_recipes()}
    if (found := by_full_name(name)) is not None and name not in recipes:
        return found
    if name not in recipes:
        raise ConfigurationError(
            f"no recipe '{name}'.{nearest(name, recipes, most=5)} "
            f"Allowed: the {len(recipes)} names of `smca recipes`, SYSTEM-SIZE of `smca compare`, or a YAML file"
        )
    return recipes[name]
