"""What the encoder reads: every level's cells, projected one by one."""

from __future__ import annotations

import torch

from smca.modeling.geometry import BatchSizes, LevelGeometry
from smca.modeling.input_projection import InputProjection
from tests.modeling.tiny import small_config, stir

LEVELS = {"c4": LevelGeometry("c4", 16, 3, 0.3), "c5": LevelGeometry("c5", 32, 3, 0.3)}
SIZES = BatchSizes(height=torch.tensor([64]), width=torch.tensor([96]))


def test_a_token_is_the_projection_of_its_cell() -> None:
    torch.manual_seed(0)
    project = stir(InputProjection(small_config(levels=("c4", "c5")), LEVELS)).double()
    maps = {"c4": torch.randn(1, 3, 4, 6).double(), "c5": torch.randn(1, 3, 2, 3).double()}
    tokens = project(maps, SIZES, padded=False)
    cells = [(index, row, column) for index, (rows, columns) in enumerate([(4, 6), (2, 3)])
             for row in range(rows) for column in range(columns)]  # fmt: skip
    weights = project.state_dict()
    for token, (index, row, column) in zip(tokens.features[0], cells, strict=True):
        weight, bias = weights[f"projections.{index}.weight"], weights[f"projections.{index}.bias"]
        wanted = weight[:, :, 0, 0] @ maps[f"c{4 + index}"][0, :, row, column] + bias
        torch.testing.assert_close(token, wanted)
