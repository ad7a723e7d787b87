"""What the encoder reads: every level's cells, projected one by one."""

from __future__ import annotations

import pytest
import torch

from smca.modeling.geometry import BatchSizes, LevelGeometry
from smca.modeling.input_projection import InputProjection
from tests.modeling.tiny import small_config, stir

LEVELS = {"c4": LevelGeometry("c4", 16, 3, 0.3), "c5": LevelGeometry("c5", 32, 3, 0.3)}
SIZES = BatchSizes(height=torch.tensor([64]), width=torch.tensor([96]))


@pytest.mark.parametrize("input_norm", [False, True])
def test_a_token_is_the_projection_of_its_cell(input_norm: bool) -> None:
    torch.manual_seed(0)
    project = stir(InputProjection(small_config(levels=("c4", "c5"), input_norm=input_norm), LEVELS)).double()
    maps = {"c4": torch.randn(1, 3, 4, 6).double(), "c5": torch.randn(1, 3, 2, 3).double()}
    tokens = project(maps, SIZES, padded=False)
    cells = [(index, row, column) for index, (rows, columns) in enumerate([(4, 6), (2, 3)])
             for row in range(rows) for column in range(columns)]  # fmt: skip
    weights = project.state_dict()
    for token, (index, row, column) in zip(tokens.features[0], cells, strict=True):
        weight, bias = weights[f"projections.{index}.weight"], weights[f"projections.{index}.bias"]
        wanted = weight[:, :, 0, 0] @ maps[f"c{4 + index}"][0, :, row, column] + bias
        if input_norm:
            scaled = (wanted - wanted.mean()) / (wanted.var(correction=0) + 1e-5).sqrt()
            wanted = scaled * weights["norm.weight"] + weights["norm.bias"]
        torch.testing.assert_close(token, wanted)


def test_with_input_norm_large_features_are_no_louder() -> None:
    project = InputProjection(small_config(levels=("c5",), input_norm=True), LEVELS)
    for size in (1.0, 100.0):
        tokens = project({"c5": size * torch.randn(1, 3, 2, 3)}, SIZES, padded=False)
        assert tokens.features.std().item() == pytest.approx(1, abs=0.05)
