"""Whether predictions depend on the image."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from smca.evaluation.variation import BEST, is_blind, variation
from smca.inference.predict import predict_with
from tests.modeling.tiny import stirred_model

UNITS = st.floats(0, 1, width=32)


def slow(found: list[np.ndarray]) -> float:
    """The definition, one detection at a time."""
    means = []
    for one, other in pairwise(found):
        nearest = []
        for row in one[:BEST]:
            distances = [
                min(1.0, max(abs(row[i] - near[i]) for i in range(4)) + abs(row[4] - near[4]) + (row[5] != near[5]))
                for near in other
            ]
            nearest.append(min(distances))
        means.append(sum(nearest) / len(nearest))
    return sum(means) / len(means)


@given(
    st.lists(
        arrays.arrays(np.float64, st.tuples(st.integers(1, 12), st.just(6)), elements=UNITS), min_size=2, max_size=4
    )
)
def test_it_is_its_definition(found: list[np.ndarray]) -> None:
    for rows in found:
        rows[:, 5] = np.round(rows[:, 5])
    assert variation(found) == pytest.approx(slow(found))


def test_images_without_detections_are_passed_over() -> None:
    rows = np.array([[0.1, 0.1, 0.5, 0.5, 0.9, 0.0]])
    assert variation([rows, np.zeros((0, 6)), rows]) == 0
    assert variation([rows, np.zeros((0, 6))]) is None
    assert not is_blind(None)


def test_a_model_that_looks_has_some_and_one_that_does_not_has_none() -> None:
    pictures = [
        torch.randint(0, 256, (3, 64, 64), generator=torch.Generator().manual_seed(i), dtype=torch.uint8)
        for i in range(4)
    ]
    model = stirred_model()
    values = []
    for blind in (False, True):
        if blind:
            for projection in model.input_projection.parameters():
                torch.nn.init.zeros_(projection)
        found = predict_with(model, pictures, threshold=0.0)
        rows = [np.column_stack([one.boxes / 64, one.scores, one.labels]) for one in found]
        values.append(variation(rows))
    assert values[0] is not None
    assert values[1] == pytest.approx(0, abs=1e-6)
    assert values[0] > 1e-4
    assert is_blind(values[1])
