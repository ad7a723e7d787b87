"""Sine encodings against the formula, cell by cell, over the unpadded area."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from smca.modeling.position import sine_position
from tests.modeling import oracle


@settings(deadline=None, max_examples=20)
@given(
    rows=st.lists(st.integers(1, 5), min_size=1, max_size=2),
    columns=st.integers(1, 6),
    channels=st.sampled_from([4, 8, 20]),
)
def test_each_cell_equals_the_formula(rows: list[int], columns: int, channels: int) -> None:
    height, width = max(rows), columns
    found = sine_position(torch.tensor(rows), torch.tensor([columns] * len(rows)), height, width, channels)
    assert found.shape == (len(rows), height * width, channels)
    for image, valid in enumerate(rows):
        for row in range(valid):
            for column in range(width):
                wanted = oracle.sine_position(valid, columns, row, column, channels)
                np.testing.assert_allclose(found[image, row * width + column], wanted, atol=2e-6)


def test_an_encoding_does_not_depend_on_the_size_of_the_map() -> None:
    rows, columns = torch.tensor([3]), torch.tensor([4])
    alone = sine_position(rows, columns, 3, 4, 8).unflatten(1, (3, 4))
    in_batch = sine_position(rows, columns, 7, 9, 8).unflatten(1, (7, 9))[:, :3, :4]
    assert torch.equal(alone, in_batch)


def test_cells_of_one_map_have_different_encodings() -> None:
    found = sine_position(torch.tensor([9]), torch.tensor([11]), 9, 11, 16)[0]
    distance = torch.cdist(found, found) + 10 * torch.eye(len(found))
    assert distance.min() > 1e-2
