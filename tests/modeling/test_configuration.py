"""Every combination of switches builds and trains a step; wrong values say what is allowed; tuples stay tuples."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoConfig

from smca.errors import ConfigurationError, SmcaError
from smca.modeling.backbone import Backbone, Trunk
from smca.modeling.configuration import BLOCKS, LEVELS, SmcaConfig
from smca.modeling.plain_backbone import PlainBackbone
from tests.modeling.tiny import padded_batch, picture, small_config, small_model

CHOICES = {
    name: get_args(hint)
    for name, hint in SmcaConfig.__annotations__.items()
    if name in ("backbone_norm", "modulation", "spread", "spread_form", "cell_position", "class_loss")
}
SWITCHES = (
    "dilation",
    "halve_finest",
    "shared_attention",
    "shared_ffn",
    "pre_norm",
    "scale_selection",
    "box_prior",
    "query_norm",
    "recentre",
)
LEVEL_SETS = [levels for count in range(1, 5) for levels in combinations(LEVELS, count)]


@st.composite
def switches(draw: st.DrawFn) -> dict[str, Any]:
    """Any legal combination, on the small backbone."""
    chosen = {name: draw(st.sampled_from(values)) for name, values in CHOICES.items()}
    chosen |= {name: draw(st.booleans()) for name in SWITCHES}
    chosen["levels"] = draw(st.sampled_from(LEVEL_SETS))
    chosen["encoder"] = tuple(draw(st.lists(st.sampled_from(BLOCKS), max_size=3)))
    chosen["decoder_layers"] = draw(st.integers(1, 2))
    chosen["num_queries"] = draw(st.integers(1, 7))
    chosen["num_heads"] = draw(st.sampled_from([1, 2, 4]))
    chosen["frozen_stages"] = draw(st.integers(0, 5))
    chosen["centre_layers"] = draw(st.integers(1, 3))
    chosen["bandwidth"] = draw(st.floats(0.5, 100))
    chosen["dropout"], chosen["attention_dropout"] = draw(st.sampled_from([(0.0, 0.0), (0.1, 0.1)]))
    return chosen


def test_all_choices_are_drawn() -> None:
    literals = {name for name, hint in SmcaConfig.__annotations__.items() if get_origin(hint) is Literal}
    booleans = {name for name, hint in SmcaConfig.__annotations__.items() if hint is bool}
    assert (literals, booleans) == (set(CHOICES), set(SWITCHES))


@settings(deadline=None, max_examples=60)
@given(chosen=switches())
def test_every_combination_trains_a_step(chosen: dict[str, Any]) -> None:
    model = small_model(**chosen).train()
    pixels, mask = padded_batch([picture(64, 96), picture(33, 50, seed=1)])
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.3]])
    labels = [
        {"class_labels": torch.tensor([1]), "boxes": boxes},
        {"class_labels": torch.tensor([]).long(), "boxes": boxes[:0]},
    ]
    output = model(pixels, mask, labels)
    assert output.loss is not None
    output.loss.backward()
    assert output.loss.isfinite()
    assert output.logits.shape == (2, chosen["num_queries"], 3 + (chosen["class_loss"] == "softmax"))
    assert output.pred_boxes.isfinite().all()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad and p.grad is not None}
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert "class_head.weight" in gradients


@settings(deadline=None, max_examples=30)
@given(chosen=switches())
def test_every_combination_survives_save_and_load(
    chosen: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("config")
    config = small_config(**chosen, level_factors=tuple(1.0 for _ in chosen["levels"]))
    config.save_pretrained(folder)
    for loaded in (
        SmcaConfig.from_pretrained(folder),
        AutoConfig.from_pretrained(folder),
        SmcaConfig.from_dict(config.to_dict()),
    ):
        for name in ("levels", "encoder", "backbone_widths", "backbone_blocks", "level_factors"):
            assert isinstance(getattr(loaded, name), tuple)
        assert {name: getattr(loaded, name) for name in SmcaConfig.__annotations__ if name in config.to_dict()} == {
            name: getattr(config, name) for name in SmcaConfig.__annotations__ if name in config.to_dict()
        }


@pytest.mark.parametrize(
    ("switch", "value", "expected"),
    [
        ("modulation", "multihead", "'multi-head'"),
        ("spread", "both", "'independent'"),
        ("class_loss", "sigmoid", "'focal'"),
        ("levels", ("c5", "c4"), "fine to coarse"),
        ("levels", ("c5", "c7"), "'c6'"),
        ("levels", (), "'c3'"),
        ("levels", ("c5", "c5"), "each once"),
        ("encoder", ("intra", "inter"), "'multi'"),
        ("level_factors", (1.0,), "1 values for 3 levels"),
        ("d_model", 30, "multiple of 4 and of num_heads"),
        ("num_queries", 0, "1 to"),
        ("num_queries", 10**9, "1 to"),
        ("num_queries", "many", "int"),
        ("bandwidth", 0.0, "above 0"),
        ("bandwidth", math.nan, "above 0"),
        ("bandwidth", math.inf, "above 0"),
        ("dropout", 1.5, "0 to 1"),
        ("attention_dropout", -0.1, "0 to 1"),
        ("no_object_weight", -1.0, "0 or more"),
        ("class_weight", math.nan, "0 or more"),
        ("box_weight", -1.0, "0 or more"),
        ("giou_weight", -1.0, "0 or more"),
        ("frozen_stages", -1, "0 or more"),
        ("backbone_widths", (1, 2), "five backbone_widths"),
        ("backbone_widths", (4, 8, 0, 8, 8), "1 to"),
        ("num_labels", 0, "1 to"),
        ("decoder_layers", 101, "1 to 100"),
        ("encoder", ("intra",) * 101, "up to 100"),
        ("backbone_blocks", (1, 101, 1), "0 to 100 each"),
        ("threshold", math.nan, "0 to 1"),
        ("level_factors", (1.0, math.nan, 1.0), "0 or more"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(switch: str, value: Any, expected: str) -> None:
    with pytest.raises(Exception, match=switch) as caught:
        small_config(**{"levels": ("c4", "c5", "c6"), switch: value})
    assert expected in str(caught.value)
    assert not isinstance(caught.value, AssertionError)


def test_an_unknown_switch_suggests_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'num_queries'"):
        small_config(num_querys=10)


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("resnet55", "Did you mean 'resnet50'"),
        ("timm/convnext_ato", "Did you mean 'convnext_atto'"),
        ("timm/vit_tiny_patch16_224", "vit_tiny_patch16_224"),
        ("timm/inception_v3", "inception_v3"),
    ],
)
def test_an_unusable_backbone_is_one_clear_line(backbone: str, expected: str) -> None:
    with pytest.raises(SmcaError) as caught:
        Backbone(small_config(backbone=backbone, backbone_norm="frozen"))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_network_that_cannot_be_dilated_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'resnet18' with dilation=True"):
        Backbone(small_config(backbone="resnet18", dilation=True))


@pytest.mark.parametrize("switches", [{"backbone_norm": "layer"}, {"backbone_norm": "frozen", "dilation": True}])
def test_a_switch_a_timm_network_cannot_follow_is_refused(switches: dict[str, Any]) -> None:
    """Never silently something else."""
    with pytest.raises(ConfigurationError, match="hgnetv2_b0"):
        Backbone(small_config(backbone="timm/hgnetv2_b0", **switches))


class Shallow(PlainBackbone):
    def forward(self, pixel_values: Tensor) -> list[Tensor]:
        return super().forward(pixel_values)[:2]


def test_a_level_the_backbone_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = Trunk(Shallow((4,) * 5, (0, 0, 0), "layer"), [], [4, 4], [8, 16])
    monkeypatch.setattr("smca.modeling.backbone.build_trunk", lambda _: trunk)
    with pytest.raises(ConfigurationError, match=r"no \['c5'\].*'c3', 'c4'"):
        Backbone(small_config(levels=("c4", "c6")))


def test_a_saved_config_may_hold_what_this_version_does_not_know() -> None:
    config = small_config()
    values = {**config.to_dict(), "a_later_switch": 1}
    assert SmcaConfig.from_dict(values).levels == config.levels
