"""The overview and the picture of each detection: how much they hold, and that what was looked at glows."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from PIL import Image

from smca.visualization import overview
from smca.visualization.attention import Map, draw_map, maps_by_kind
from smca.visualization.figures import DOTS_PER_INCH
from smca.visualization.panels import Canvas, Panel, Sheet, head_colour
from tests.visualization.explanations import explanation, level, picture, without_modulation


def has(drawn: Image.Image, colour: str) -> bool:
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((np.asarray(drawn) == wanted).all(-1).any())


def test_kinds_of_map_in_order() -> None:
    assert list(maps_by_kind(explanation().levels)) == ["weight map G", "co-attention", "without Gaussian"]
    assert list(maps_by_kind(without_modulation().levels)) == ["co-attention"]


def test_strength_is_absolute_for_g_and_relative_for_attention() -> None:
    values = np.array([[[[0.1, 0.2]], [[0.4, 0.0]]]])
    one = level("c4", 16)
    assert Map(one, values, is_weight=True).strength(0).tolist() == [[0.4, 0.2]]
    assert Map(one, values, is_weight=False).strength(0) == pytest.approx(np.array([[1.0, 0.4]]))
    assert Map(one, values, is_weight=False).strength(0, head=0).tolist() == [[0.5, 1.0]]
    assert (Map(one, values * 0, is_weight=False).strength(0) == 0).all()


def test_the_overview_has_a_row_a_detection_and_columns_for_what_there_is() -> None:
    one, two = explanation(1).overview(), explanation(2).overview()
    assert one.width == two.width
    assert two.height > 1.4 * one.height
    single = explanation(2, (level("c5", 32, n=2),)).overview()
    assert without_modulation().overview().width < single.width < two.width


def test_the_overview_stops_before_it_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "MOST_ROWS", 2)
    assert explanation(3).overview().size == explanation(2).overview().size


@pytest.mark.parametrize(("width", "height"), [(128, 64), (5000, 20), (20, 5000), (1, 1)])
def test_nothing_found_still_gives_a_picture(width: int, height: int) -> None:
    drawn = np.asarray(explanation(0, image=picture(width, height)).overview())
    assert (drawn == (90, 120, 150)).all(-1).any()
    assert drawn[-60:].min() < 128


@pytest.mark.parametrize(("width", "height"), [(5000, 20), (20, 5000), (1, 1)])
def test_extreme_pictures_are_drawn_legibly(width: int, height: int) -> None:
    one = explanation(1, image=picture(width, height))
    for drawn in (one.overview(), one.per_head(0)):
        assert drawn.width > 400
        assert 200 < drawn.height < 3000


@pytest.mark.parametrize("heads", [1, 2, 9])
def test_per_head_has_a_column_a_head_and_a_block_a_level(heads: int) -> None:
    levels = (level("c4", 16, heads=heads), level("c5", 32, heads=heads))
    both, single = explanation(1, levels).per_head(0), explanation(1, levels[:1]).per_head(0)
    assert both.height > single.height + 300
    assert without_modulation(1).per_head(0).height < both.height
    assert all(has(both, head_colour(head)) for head in range(heads))
    more = tuple(level(one.name, one.stride, heads=heads + 9) for one in levels)
    assert explanation(1, more).per_head(0).width > both.width


@pytest.mark.parametrize("kind", ["weight map G", "co-attention", "without Gaussian"])
def test_what_a_query_looks_at_glows_where_it_is(kind: str) -> None:
    """A map that is 1 in one cell of a picture twice as large as the model saw it."""
    dark = np.zeros_like(level("c4", 16).co_attention)
    names = {"weight map G": "weight_maps", "co-attention": "co_attention", "without Gaussian": "plain_attention"}
    for column, other in ((0, 7), (7, 0)):
        bright = {names[kind]: level("c4", 16, peak=(2, column)).co_attention}
        maps: dict[str, Any] = dict.fromkeys(names.values(), dark) | bright
        one = explanation(1, (dataclasses.replace(level("c4", 16), **maps),), picture(256, 128))
        panel = Panel(Sheet(2.5, 1.5), Canvas.of(one.image, 2.0), 0.25, 0.25)
        draw_map(panel, one, maps_by_kind(one.levels)[kind][0], 0)
        drawn = np.asarray(panel.sheet.picture(), np.int64)
        warmth = []
        for at in (column, other):
            x, y = (panel.place((np.array([at, 2]) + 0.5) * 32) * DOTS_PER_INCH).astype(int)
            warmth.append(drawn[y, x, 0] - drawn[y, x, 2])
        assert warmth[0] > 50
        assert warmth[1] == 0


def test_heads_shared_by_all_stand_beside_heads_of_their_own() -> None:
    own, shared = level("c5", 32, heads=4), level("c5", 32, heads=1)
    mixed = dataclasses.replace(
        own, weight_maps=shared.weight_maps, head_centres=shared.head_centres, sigmas=shared.sigmas
    )
    drawn = explanation(1, (mixed,)).per_head(0)
    assert drawn.size == explanation(1, (own,)).per_head(0).size
    assert has(drawn, head_colour(0))
    assert not has(drawn, head_colour(1))


def test_long_names_are_cut() -> None:
    one = explanation(1)
    named = dataclasses.replace(one, detections=dataclasses.replace(one.detections, names=("x" * 500,)))
    assert named.overview().size == one.overview().size
