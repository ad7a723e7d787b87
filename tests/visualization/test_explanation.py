"""The arrays, numbers and files of an explanation, and where its outlines lie."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smca.sizes import ImageSize
from smca.visualization.explanation import WIDEST, Explanation, outline
from tests.visualization.explanations import SIZE, explanation, level, picture, without_modulation

CENTRE, SIGMA = np.array([3.0, 5.0]), np.array([2.0, 0.5])


@pytest.mark.parametrize("product", [0.0, 0.3, 40.0])
def test_an_outline_is_where_the_map_has_fallen_by_one_sigma(product: float) -> None:
    points = outline(CENTRE, SIGMA, product)
    x, y = (points - CENTRE).T
    exponent = x**2 / (2 * SIGMA[0] ** 2) + y**2 / (2 * SIGMA[1] ** 2) + x**2 * y**2 * product
    assert exponent == pytest.approx(np.full(len(points), 0.5))
    assert np.ptp(points, axis=0) == pytest.approx(2 * SIGMA, rel=1e-3)
    assert points[0] == pytest.approx(points[-1])


def test_an_outline_without_end_stays_finite() -> None:
    points = outline(CENTRE, np.array([np.inf, 1.0]))
    assert np.isfinite(points).all()
    assert np.ptp(points[:, 0]) == pytest.approx(2 * WIDEST)


def test_spreads_lie_in_the_pixels_of_the_picture() -> None:
    """The model saw 128 x 64 of a picture of 256 x 320; a cell of stride 16 is 32 x 80 of its pixels."""
    levels = (level("c4", 16, n=1, heads=3, peak=(2, 5)),)
    one = explanation(1, levels, picture(256, 320))
    assert one.cell(levels[0]) == pytest.approx([32, 80])
    spreads = one.spreads(levels[0], 0)
    assert len(spreads) == 3
    for spread in spreads:
        assert spread.centre == pytest.approx([5.5 * 32, 2.5 * 80])
        assert spread.outline.min(axis=0) == pytest.approx([4.0 * 32, 1.5 * 80], abs=0.1)
        assert spread.outline.max(axis=0) == pytest.approx([7.0 * 32, 3.5 * 80], abs=0.1)
    assert without_modulation().spreads(without_modulation().levels[0], 0) == []


def test_arrays_are_those_of_the_documented_names() -> None:
    always = {"boxes", "scores", "labels", "names", "queries", "picture_size", "seen_size", "threshold"}
    always |= {"highest_score", "level_names", "strides", "offsets"}
    maps = {"weight_maps", "co_attention", "plain_attention", "head_centres", "sigmas"}
    found = explanation().arrays()
    assert set(found) == always | {"scale_weights", "centres"} | {f"{m}_{n}" for m in maps for n in ("c4", "c5")}
    assert found["names"].tolist() == ["class 0", "class 1"]
    assert found["strides"].tolist() == [16, 32]
    assert set(without_modulation().arrays()) == always | {"co_attention_c4", "co_attention_c5"}
    product = dataclasses.replace(level("c4", 16), products=np.ones((1, 2)))
    assert "products_c4" in explanation(1, (product,)).arrays()


def test_numbers_are_in_pixels_and_of_builtin_types() -> None:
    levels = (level("c4", 16, n=1, peak=(2, 5)), level("c5", 32, n=1))
    flat = np.array([[[np.inf, 1.0], [1.0, 1.0]]])
    levels = (dataclasses.replace(levels[0], sigmas=flat), levels[1])
    numbers = json.loads(json.dumps(explanation(1, levels, picture(256, 320)).to_json(), allow_nan=False))
    (row,) = numbers["detections"]
    assert (numbers["width"], numbers["height"]) == (256, 320)
    assert numbers["seen"] == {"width": SIZE.width, "height": SIZE.height}
    assert numbers["levels"][1] == {"name": "c5", "stride": 32, "offset": 0.5}
    assert row["centre"] == {"x": 128, "y": 160}
    assert row["scale_weights"] == {"c4": 0.5, "c5": 0.5}
    assert row["heads"]["c4"][0] == {"centre": {"x": 176, "y": 200}, "sigma": {"x": None, "y": 80}}
    assert without_modulation().to_json()["detections"][0].keys() == {"label", "score", "box", "query"}


def read(folder: Path) -> tuple[set[str], dict[str, Any]]:
    with np.load(folder / "explain.npz") as arrays:
        return {path.name for path in folder.iterdir()}, dict(arrays)


@pytest.mark.parametrize("n", [0, 2])
def test_what_is_saved_is_what_there_is(n: int, tmp_path: Path) -> None:
    one = explanation(n)
    assert one.save(tmp_path / "out") == tmp_path / "out"
    names, arrays = read(tmp_path / "out")
    pictures = {f"detection-{i + 1}.png" for i in range(n)}
    assert names == {"overview.png", "explain.json", "explain.npz"} | pictures
    assert arrays.keys() == one.arrays().keys()
    assert all(np.array_equal(arrays[name], value) for name, value in one.arrays().items())
    assert json.loads((tmp_path / "out" / "explain.json").read_text()) == one.to_json()


def test_an_earlier_runs_detections_go_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    explanation(3).save(tmp_path)
    explanation(1).save(tmp_path)
    names, _ = read(tmp_path)
    assert names == {"overview.png", "explain.json", "explain.npz", "detection-1.png", "notes.txt"}


@pytest.mark.parametrize(
    ("highest", "threshold", "advice"), [(0.3149, 0.5, "0.314"), (0.9999, 1.0, "0.999"), (0.0004, 0.5, "0")]
)
def test_a_shortfall_names_the_score_and_a_threshold_that_helps(highest: float, threshold: float, advice: str) -> None:
    one = dataclasses.replace(explanation(0), highest_score=highest, threshold=threshold)
    assert f"{highest:.3f}" in one.shortfall
    assert f"threshold {threshold:g};" in one.shortfall
    assert f"--threshold {advice} " in one.shortfall
    assert float(advice) <= highest
    assert explanation(1).shortfall == ""


def test_detections_are_counted() -> None:
    assert [len(explanation(n)) for n in (0, 2)] == [0, 2]
    assert isinstance(explanation(), Explanation)
    assert explanation().detections.size == ImageSize(height=64, width=128)
