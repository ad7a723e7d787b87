"""The table of initial values, measured on a new model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.weight_maps import WeightMapHead
from tests.modeling.tiny import picture, small_config, small_model

QUERIES = 60
SWITCHES: dict[str, Any] = {"d_model": 96, "num_heads": 4, "num_queries": QUERIES}


@pytest.fixture(scope="module")
def model() -> SmcaForObjectDetection:
    return small_model(**SWITCHES)


def weight_maps(model: SmcaForObjectDetection) -> list[WeightMapHead]:
    return [part for part in model.modules() if isinstance(part, WeightMapHead)]


@pytest.mark.parametrize("spread", ["fixed", "single", "independent"])
def test_the_spread_is_exactly_one_whatever_the_query(spread: str) -> None:
    for head in weight_maps(small_model(spread=spread)):
        assert torch.equal(head.spreads(torch.randn(2, 5, 16)), torch.ones(2, 5, 3, 2, 2))


def test_sigma_is_two_cells(model: SmcaForObjectDetection) -> None:
    """exp(-d^2 / (2 sigma^2)) at d = 2 is exp(-1/2)."""
    with torch.no_grad():
        tokens = model.tokens(picture(128, 128)[None], None)
        trace = model.decoder(tokens, model.box_head, explicit=True).traces[0]
    assert trace.weight_maps is not None
    for one in trace.weight_maps:
        sigma = (2 * one.precision) ** -0.5
        torch.testing.assert_close(sigma, torch.full_like(sigma, 2.0))


def test_offsets_are_one_cell_long_and_point_all_around(model: SmcaForObjectDetection) -> None:
    for head in weight_maps(model):
        assert head.offset is not None
        assert head.offset.weight.abs().max() == 0
        offsets = head.offset.bias.detach().unflatten(0, (3, 4, 2))
        torch.testing.assert_close(offsets.norm(dim=-1), torch.ones(3, 4))
        torch.testing.assert_close(offsets.sum(dim=1), torch.zeros(3, 2), rtol=0, atol=1e-6)


def centres(model: SmcaForObjectDetection) -> torch.Tensor:
    with torch.no_grad():
        seen = model(picture(64, 96)[None], intermediates=True).intermediates
    assert seen is not None
    assert seen.centres is not None
    return seen.centres[0, 0]


@pytest.mark.parametrize("switches", [{}, {"query_norm": False}, {"pre_norm": True}, {"modulation": "none"}], ids=str)
def test_centres_cover_the_image_evenly(switches: dict[str, Any]) -> None:
    """Every cell of a 4x4 grid has a centre, and no point of the image is far from one."""
    found = centres(small_model(**SWITCHES, **switches))
    cells = {tuple(cell) for cell in (found * 4).long().tolist()}
    assert len(cells) == 16
    axis = torch.linspace(0.02, 0.98, 20)
    assert torch.cdist(torch.cartesian_prod(axis, axis), found).min(dim=1).values.max() < 0.3


def test_first_boxes_start_at_their_centre_and_are_small(model: SmcaForObjectDetection) -> None:
    with torch.no_grad():
        seen = model(picture(64, 96)[None], intermediates=True).intermediates
    assert seen is not None
    assert seen.centres is not None
    for boxes in seen.all_boxes:
        torch.testing.assert_close(boxes[..., :2], seen.centres[0])
        torch.testing.assert_close(boxes[..., 2:], torch.full_like(boxes[..., 2:], 1 / (1 + math.exp(2))))


def test_scores_start_at_the_class_prior(model: SmcaForObjectDetection) -> None:
    prior = model.class_head.bias.sigmoid()
    torch.testing.assert_close(prior, torch.full_like(prior, 0.01))
    assert small_model(class_loss="softmax").class_head.bias.abs().max() == 0


def test_linear_layers_are_xavier_with_no_bias(model: SmcaForObjectDetection) -> None:
    layer: Any = model.decoder.layers[1]
    for module in (model.encoder, layer.co_attention, layer.ffn):
        for part in module.modules():
            if isinstance(part, nn.Linear):
                bound = math.sqrt(6 / (part.in_features + part.out_features))
                assert part.weight.abs().max() <= bound
                assert part.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
                assert part.bias.abs().max() == 0


def test_queries_are_standard_normal(model: SmcaForObjectDetection) -> None:
    queries = model.decoder.query_position.weight
    assert queries.mean().item() == pytest.approx(0, abs=0.05)
    assert queries.std().item() == pytest.approx(1, abs=0.05)


def test_without_modulation_and_prior_it_is_detr() -> None:
    """No parameter of E2, E3, E4, E6; one level has none of E7."""
    names = [name for name, _ in small_model(modulation="none", box_prior=False, levels=("c5",)).named_parameters()]
    for part in ("centre", "weight_map", "scale", "spread", "offset", "level_embedding", "query_norm"):
        assert not [name for name in names if part in name]


def test_the_same_seed_gives_the_same_model() -> None:
    first, second = small_model(seed=3).state_dict(), small_model(seed=3).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"backbone_norm": "batch", "pre_norm": True},
        {"backbone_norm": "frozen", "encoder": ("depthwise",), "halve_finest": True},
        {"backbone": "timm/tf_efficientnet_lite0", "backbone_norm": "batch"},
    ],
    ids=str,
)
def test_what_a_file_lacks_starts_as_in_a_new_model(switches: dict[str, Any]) -> None:
    """Loading builds a model without numbers: here the file has none either."""
    config = small_config(**switches)
    torch.manual_seed(0)
    new = SmcaForObjectDetection(config).state_dict()
    torch.manual_seed(0)
    loaded = SmcaForObjectDetection.from_pretrained(None, config=config, state_dict={}).state_dict()
    for name, wanted in new.items():
        if name.startswith("backbone") or (wanted == wanted.flatten()[0]).all():
            assert torch.equal(loaded[name], wanted), name
        elif wanted.numel() >= 16:
            assert 0.4 < loaded[name].std() / wanted.std() < 2.5, name
        else:
            assert loaded[name].abs().max() < 10, name


def test_what_a_file_holds_is_kept(tmp_path: Path) -> None:
    saved = small_model(backbone_norm="batch")
    saved.save_pretrained(tmp_path)
    deeper = SmcaForObjectDetection.from_pretrained(tmp_path, decoder_layers=3).state_dict()
    assert all(torch.equal(deeper[name], tensor) for name, tensor in saved.state_dict().items())
    assert all(torch.equal(deeper[f"decoder.layers.2.norm{i}.weight"], torch.ones(16)) for i in (1, 2, 3))
