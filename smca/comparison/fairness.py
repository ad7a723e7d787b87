"""What was set to be fair, generated from what the runs resolved to and from the modules that say what a peer is."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

from smca.comparison.peers import initial_values
from smca.training.recipe import Recipe

OWN_LOSS = ("rt_detr_v2", "d_fine", "faster_rcnn", "fcos", "tsp_fcos", "tsp_rcnn")


def fairness(recipes: Mapping[str, Recipe]) -> str:
    """A section in Markdown: what all runs have in common, what differs, where each system comes from."""
    settings = {name: _settings(recipe) for name, recipe in recipes.items()}
    keys = list(dict.fromkeys(key for one in settings.values() for key in one))
    common = {key: _value(settings, key) for key in keys if len({repr(one.get(key)) for one in settings.values()}) == 1}
    lines = [
        "## What was set to be fair",
        "",
        "One trainer (AdamW, clipping, schedule), order of the images, augmentation, evaluator and backbone (up to the",
        "coarsest map that a system reads), with the same initial values for each seed. Criterion: focal loss, L1 and",
        "GIoU on every decoder layer after Hungarian matching, but for systems whose own losses are part of what they",
        "are (said below). Equal for all:",
        "",
        *(f"- `{key}`: {value}" for key, value in common.items()),
        "",
        "By system (what its configuration does not use is ignored):",
        "",
    ]
    for name, own in settings.items():
        different = ", ".join(f"`{key}` {value}" for key, value in own.items() if key not in common)
        lines.append(f"- **{name}**: {_origin(recipes[name])}{f' Set: {different}.' if different else ''}")
    table = (initial_values.__doc__ or "").strip()
    return "\n".join([*lines, "", "### Initial values of transformers' systems", "", table, ""])


def _settings(recipe: Recipe) -> dict[str, Any]:
    """All switches of a recipe but its name."""
    model = {key: value for key, value in recipe.model.items() if key != "peer"}
    shown = {"backbone_weights": recipe.backbone_weights, "image_size": recipe.image_size}
    return {**dataclasses.asdict(recipe.optimisation), **dataclasses.asdict(recipe.augmentation), **shown, **model}


def _value(settings: Mapping[str, Mapping[str, Any]], key: str) -> Any:
    return next(iter(settings.values())).get(key)


def _origin(recipe: Recipe) -> str:
    """What the peer's module says of itself in its first paragraph; ours is the paper's model and its switches."""
    peer = recipe.model.get("peer")
    if peer is None:
        return "ours (smca.modeling)."
    module = peer.replace("-", "_")
    text = importlib.import_module(f"smca.comparison.peers.{module}").__doc__ or ""
    own = " Its own losses." if module in OWN_LOSS else ""
    return " ".join(text.split("\n\n")[0].split()) + own
