"""E2, E3, E4 and E6 against scalar loops, in every form they have."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from smca.modeling.configuration import SmcaConfig
from smca.modeling.geometry import Grid
from smca.modeling.weight_maps import SMALLEST, CentreHead, WeightMap, WeightMapHead, log_weight_map
from tests.modeling import oracle
from tests.modeling.tiny import small_config, stir

IMAGE = {"width": 200.0, "height": 130.0}
STRIDES = {"c4": 16, "c5": 32, "c6": 64}


def spread_of(head: WeightMapHead, config: SmcaConfig, query: np.ndarray, level: int, which: int) -> oracle.Spread:
    """E3 read from the layer's outputs: level-major, then head, then (x, y) or (x, y, product)."""
    if head.spread is None:
        return oracle.Spread(1.0, 1.0)
    s = oracle.linear(head.spread, query)
    index = level * head.heads + which
    if config.spread == "single":
        return oracle.Spread(s[index], s[index])
    share = 3 if config.spread == "product" else 2
    return oracle.Spread(*s[share * index : share * (index + 1)])


def offset_of(head: WeightMapHead, query: np.ndarray, level: int, which: int) -> tuple[float, float]:
    if head.offset is None:
        return 0.0, 0.0
    found = oracle.linear(head.offset, query)
    index = level * head.heads + which
    return found[2 * index], found[2 * index + 1]


def scales_of() -> tuple[Tensor, ...]:
    return tuple(torch.tensor([[IMAGE["width"], IMAGE["height"]]]).double() / s for s in STRIDES.values())


FORMS = [
    {"modulation": modulation, "spread": spread, "spread_form": form}
    for modulation, spread, form in product(
        ("head-shared", "multi-head"), ("fixed", "single", "independent", "product"), ("width", "inverse-width")
    )
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(form.values()))
def test_weight_maps_equal_the_loop(form: dict[str, Any]) -> None:
    torch.manual_seed(1)
    config = small_config(**form, bandwidth=5.0, level_factors=(0.5, 1.0, 2.0))
    centre, head = stir(CentreHead(16, 3), 0.3).double(), stir(WeightMapHead(config), 0.3).double()
    if head.spread is not None:
        torch.nn.init.normal_(head.spread.weight, std=0.05)
        torch.nn.init.uniform_(head.spread.bias, 0.8, 1.5)
    queries = torch.randn(1, 3, 16).double()
    maps = head(queries, centre(queries), scales_of())
    for (level, stride), n, m in product(enumerate(STRIDES.values()), range(3), range(head.heads)):
        query = queries[0, n].numpy()
        x, y = oracle.initial_centre(oracle.mlp(centre, query), **IMAGE, stride=stride)
        dx, dy = offset_of(head, query, level, m)
        spread = spread_of(head, config, query, level, m)
        grid = Grid.of_map(3, 4, 0.25, like=queries)
        found = log_weight_map(maps[level], grid)[0, n, m].detach()
        for j, i in product(range(3), range(4)):
            wanted = (
                oracle.log_gaussian(
                    i + 0.25,
                    j + 0.25,
                    (x + dx, y + dy),
                    spread,
                    config.bandwidth,
                    config.spread_form == "inverse-width",
                )
                * (0.5, 1.0, 2.0)[level]
            )
            assert found[j, i].item() == pytest.approx(wanted, rel=1e-9)


def test_number_of_heads_and_of_outputs() -> None:
    per_head = WeightMapHead(small_config(num_heads=4))
    shared = WeightMapHead(small_config(num_heads=4, modulation="head-shared"))
    assert per_head.offset is not None
    assert per_head.spread is not None
    assert shared.spread is not None
    assert (per_head.offset.out_features, per_head.spread.out_features) == (24, 24)
    assert (shared.offset, shared.spread.out_features) == (None, 6)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_width_of_almost_zero_stays_finite_and_counts_as_the_smallest(sign: float) -> None:
    head = WeightMapHead(small_config())
    assert head.spread is not None
    torch.nn.init.zeros_(head.spread.weight)
    torch.nn.init.constant_(head.spread.bias, sign * 1e-8)
    maps = head(torch.randn(1, 2, 16), torch.zeros(1, 2, 2), tuple(s.float() for s in scales_of()))
    for one in maps:
        torch.testing.assert_close(one.precision, torch.full_like(one.precision, 1 / (8 * SMALLEST**2)))


def test_centres_are_measured_on_the_unpadded_image_not_on_whole_cells() -> None:
    head = WeightMapHead(small_config(modulation="head-shared"))
    maps = head(torch.randn(1, 1, 16), torch.zeros(1, 1, 2), tuple(s.float() for s in scales_of()))
    for one, stride in zip(maps, STRIDES.values(), strict=True):
        assert one.centre.flatten().tolist() == pytest.approx([100 / stride, 65 / stride])


def test_the_map_is_one_at_its_centre_and_falls_to_the_sides() -> None:
    one = WeightMap(torch.tensor([[[[3.0, 2.0]]]]), torch.tensor([[[[0.125, 0.5]]]]))
    gaussian = log_weight_map(one, Grid.of_map(5, 7, 0.0, like=one.centre)).exp()[0, 0, 0]
    assert gaussian[2, 3] == 1
    assert gaussian[2, 5].item() == pytest.approx(np.exp(-0.5))
    assert gaussian[3, 3].item() == pytest.approx(np.exp(-0.5))


def test_weight_maps_are_float32_under_autocast() -> None:
    head = stir(WeightMapHead(small_config()))
    with torch.autocast("cpu", torch.bfloat16):
        maps = head(torch.randn(1, 2, 16).bfloat16(), torch.zeros(1, 2, 2), tuple(s.float() for s in scales_of()))
    assert {values.dtype for one in maps for values in one[:2]} == {torch.float32}
