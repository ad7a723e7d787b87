"""What the encoder reads: every level's cells, projected one by one."""

from __future__ import annotations

import torch

from smca.modeling.geometry import BatchSizes, LevelGeometry
from smca.modeling.input_projection import InputProjection
from smca.modeling.position import sine_position
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


def test_each_level_adds_a_vector_of_its_own_to_its_positions() -> None:
    project = stir(InputProjection(small_config(levels=("c4", "c5")), LEVELS)).double()
    maps = {"c4": torch.randn(1, 3, 4, 6).double(), "c5": torch.randn(1, 3, 2, 3).double()}
    tokens = project(maps, SIZES, padded=False)
    assert project.level_embedding is not None
    for level, positions in enumerate(tokens.positions[0].split(tokens.lengths)):
        rows, columns = tokens.shapes[level]
        sine = sine_position(torch.tensor([rows]), torch.tensor([columns]), rows, columns, 16)[0]
        torch.testing.assert_close(positions, sine + project.level_embedding.weight[level], check_dtype=False)
    assert InputProjection(small_config(levels=("c5",)), LEVELS).level_embedding is None
