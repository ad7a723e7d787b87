"""The decoder against the scalar loop of its formulas, E7, and what a layer hands to the next."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from smca.modeling.decoder import Decoded, Decoder
from smca.modeling.heads import BoxHead
from smca.modeling.input_projection import Tokens
from smca.modeling.scale_selection import ScaleSelection
from tests.modeling import oracle
from tests.modeling.tiny import random_tokens, small_config, stir

SIZES = [(60, 100), (90, 50)]


def layers_of(module: Decoder) -> list[Any]:
    return list(module.layers)


HEAD = stir(BoxHead(16, box_prior=True)).double()


def decoder(**switches: Any) -> tuple[Decoder, Tokens]:
    torch.manual_seed(4)
    config = small_config(num_queries=3, levels=("c5", "c6"), **switches)
    module = stir(Decoder(config)).double().eval()
    for layer in layers_of(module):
        if layer.weight_map is not None and layer.weight_map.spread is not None:
            torch.nn.init.normal_(layer.weight_map.spread.weight, std=0.05)
            torch.nn.init.uniform_(layer.weight_map.spread.bias, 0.8, 1.5)
    return module, random_tokens(config, SIZES)


def levels_of(tokens: Tokens, image: int) -> list[oracle.Level]:
    assert tokens.padding is not None
    parts = [x[image].detach().split(tokens.lengths) for x in (tokens.features, tokens.positions, tokens.padding)]
    found = []
    for level, (features, positions, hidden) in enumerate(zip(*parts, strict=True)):
        grid = tokens.grids[level]
        cells = [(float(x), float(y)) for y in grid.y for x in grid.x]
        width, height = tokens.scales[level][image].tolist()
        found.append(oracle.Level(features.numpy(), positions.numpy(), cells, hidden.tolist(), width, height))
    return found


@pytest.mark.parametrize("explicit", [True, False])
def test_all_layers_equal_the_scalar_loop(explicit: bool) -> None:
    module, tokens = decoder()
    found = module(tokens, HEAD, explicit=explicit)
    for image in range(2):
        outputs, centres = oracle.decoder(module, levels_of(tokens, image), beta=8.0)
        assert found.references[0] is not None
        np.testing.assert_allclose(found.references[0].centre_logit[image].detach(), centres, atol=1e-10)
        for layer, wanted in enumerate(outputs):
            np.testing.assert_allclose(found.outputs[layer, image].detach(), wanted, atol=1e-8)


def test_scale_weights_are_a_softmax_of_one_layer() -> None:
    layer = stir(ScaleSelection(16, 3)).double()
    query = torch.randn(2, 4, 16).double()
    found = layer(query)
    for image, n in np.ndindex(2, 4):
        wanted = oracle.softmax(list(oracle.linear(layer, query[image, n].numpy())))
        np.testing.assert_allclose(found[image, n].detach(), wanted, atol=1e-12)


def run(**switches: Any) -> tuple[Decoder, Decoded]:
    module, tokens = decoder(**switches)
    return module, module(tokens, HEAD, explicit=True)


def test_only_the_first_layer_makes_centres_and_all_layers_use_them() -> None:
    module, found = run()
    assert [layer.centre is None for layer in layers_of(module)] == [False, True]
    assert found.references[0] is found.references[1]
    assert found.references[0] is not None


def test_the_first_centre_is_the_same_for_every_image() -> None:
    """Target is zero at layer 0, so the centre is a learned anchor."""
    _, found = run()
    assert found.references[0] is not None
    first, second = found.references[0].centre_logit
    torch.testing.assert_close(first, second, rtol=0, atol=1e-12)


def test_recentred_maps_stand_on_the_box_of_the_layer_before() -> None:
    module, found = run(recentre=True, decoder_layers=3)
    tokens = decoder()[1]
    for before, output, after in zip(found.references, found.outputs, found.references[1:], strict=False):
        assert before is not None
        assert after is not None
        box = HEAD(output, before.centre_logit)
        torch.testing.assert_close(after.centre_logit.sigmoid(), box[..., :2])
        assert not after.centre_logit.requires_grad
    offset = layers_of(module)[1].weight_map.offset
    torch.nn.init.zeros_(offset.weight)
    torch.nn.init.zeros_(offset.bias)
    again = module(tokens, HEAD)
    assert again.references[1] is not None
    centre = again.references[1].centre_logit.sigmoid()[:, :, None]
    for one, scale in zip(again.traces[1].weight_maps or [], tokens.scales, strict=True):
        torch.testing.assert_close(one.centre, (centre * scale[:, None, None]).expand_as(one.centre))


def test_without_a_centre_there_is_nothing_to_recentre() -> None:
    _, found = run(recentre=True, modulation="none", box_prior=False)
    assert found.centre_logits is None


@pytest.mark.parametrize(
    ("switches", "centre", "map_heads", "selects"),
    [
        ({}, True, 2, True),
        ({"modulation": "head-shared"}, True, 1, True),
        ({"modulation": "none"}, True, None, True),
        ({"modulation": "none", "box_prior": False}, False, None, True),
        ({"scale_selection": False}, True, 2, False),
        ({"box_prior": False}, True, 2, True),
    ],
)
def test_a_switch_adds_what_it_needs_and_nothing_else(
    switches: dict[str, Any], centre: bool, map_heads: int | None, selects: bool
) -> None:
    module, found = run(**switches)
    assert (found.references[0] is not None) == centre
    assert any("centre" in name for name, _ in module.named_parameters()) == centre
    for trace in found.traces:
        assert (trace.scale_weights is not None) == selects
        heads = None if trace.weight_maps is None else trace.weight_maps[0].centre.shape[2]
        assert heads == map_heads


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"scale_selection": False},
        {"modulation": "none"},
        {"modulation": "none", "scale_selection": False},
        {"modulation": "none", "scale_selection": False, "box_prior": False},
        {"modulation": "head-shared", "scale_selection": False, "spread": "fixed"},
    ],
)
def test_every_weight_is_read(switches: dict[str, Any]) -> None:
    """Processes that train together wait for the gradient of each, so one that nothing reads would stop them."""
    module, found = run(**switches)
    reference = found.references[0]
    (found.outputs.sum() + (0 if reference is None else reference.centre_logit.sum())).backward()
    assert [name for name, parameter in module.named_parameters() if parameter.grad is None] == []


def test_pre_norm_normalises_before_each_step() -> None:
    """With every step's last layer at zero nothing is added: post-norm still normalises, pre-norm leaves zeros."""
    module, tokens = decoder(pre_norm=True)
    for layer in layers_of(module):
        for last in (layer.self_attention.output, layer.co_attention.output, layer.ffn[-1]):
            torch.nn.init.zeros_(last.weight)
            torch.nn.init.zeros_(last.bias)
    outputs = module(tokens, HEAD).outputs
    torch.testing.assert_close(outputs, module.norm.bias.expand_as(outputs))
