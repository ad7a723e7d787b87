"""Charts of an evaluation: every class is named with its AP, however many there are and whatever they are called."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from smca.visualization.evaluation_charts import COLOURED, COLOURS, over_threshold, precision_over_recall


def falling(classes: int) -> np.ndarray:
    """[K, 101]: the precision of class k is constant, 1 / (k + 1)."""
    return np.ones((classes, 101)) / np.arange(1, classes + 1)[:, None]


def test_each_of_a_few_classes_has_a_colour_and_its_ap() -> None:
    picture = precision_over_recall(
        [("cat", 3), ("$d_og", 5), ("_cow", 0)], np.array([[1.0] * 101, [0.5] * 101, [np.nan] * 101])
    )
    assert [text for _, text in picture.key] == ["all classes 75.0", "cat 100.0", "$d_og 50.0"]
    assert len({colour for colour, _ in picture.key}) == 3


def test_of_many_classes_those_with_the_most_objects_have_one() -> None:
    picture = precision_over_recall([(f"c{k}", k) for k in range(80)], falling(80))
    assert [text.split()[0] for _, text in picture.key[1:-1]] == [f"c{k}" for k in range(79, 79 - COLOURED, -1)]
    assert picture.key[-1][1] == f"each of {80 - COLOURED} other classes"


@pytest.mark.parametrize("classes", [0, 2])
def test_nothing_to_find_is_said(classes: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        picture = precision_over_recall([("a", 0)] * classes, np.full((classes, 101), np.nan))
    assert picture.caption == "No objects, so no curve"
    assert not picture.key


def test_the_threshold_is_where_it_should_be() -> None:
    def columns(threshold: float) -> np.ndarray:
        picture = over_threshold({"F1": [None, 0.5, None]}, threshold, "note")
        pixels = np.asarray(picture.image).astype(int)
        red = (np.abs(pixels - [int(COLOURS[3][i : i + 2], 16) for i in (1, 3, 5)]) < 30).all(axis=-1)
        return np.flatnonzero(red.any(axis=0))

    low, high = columns(0.25), columns(0.75)
    width = over_threshold({"F1": [None]}, 0.5, "note").image.width
    assert high.mean() - low.mean() == pytest.approx(0.5 * width, rel=0.15)
    assert over_threshold({"F1": [None]}, 0.25, "note").key[-1][1] == "threshold 0.250"
