import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from smca.modeling.geometry import LevelGeometry
from smca.training.crop_warm_up import (
    CROPS,
    SIDE,
    UNIT,
    CellTargets,
    cell_centres,
    cell_loss,
    cell_targets,
    crop_squares,
)

BACKGROUND = 7


def target_of_one_cell(boxes: list[list[float]], labels: list[int], x: float, y: float) -> tuple[int, list[float]]:
    """The smallest box around the cell, by looking at each."""
    best, area = -1, float("inf")
    for index, (left, top, right, bottom) in enumerate(boxes):
        size = (right - left) * (bottom - top)
        if left < x < right and top < y < bottom and size < area:
            best, area = index, size
    if best < 0:
        return BACKGROUND, []
    left, top, right, bottom = boxes[best]
    return labels[best], [x - left, y - top, right - x, bottom - y]


@given(st.integers(0, 4), st.integers(0, 2**16))
@settings(deadline=None, max_examples=40)
def test_cells_get_the_smallest_box_around_them(count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(3, count, 2, generator=generator) * SIDE
    boxes = torch.cat([corner - 20, corner + 5 + 30 * torch.rand(3, count, 2, generator=generator)], dim=-1)
    labels = torch.randint(0, BACKGROUND, (count,), generator=generator)
    centres = cell_centres(LevelGeometry("c4", 16, 8, 0.3))
    found = cell_targets(boxes, labels, centres, BACKGROUND)
    assert found.labels.shape == (3, 16)
    for crop in range(3):
        for cell, (x, y) in enumerate(centres.tolist()):
            label, sides = target_of_one_cell(boxes[crop].tolist(), labels.tolist(), x, y)
            assert found.labels[crop, cell] == label
            if sides:
                torch.testing.assert_close(found.sides[crop, cell], torch.tensor(sides))


def test_cells_lie_row_by_row_where_the_level_says() -> None:
    centres = cell_centres(LevelGeometry("c5", 32, 8, 0.25))
    assert centres.tolist() == [[8.0, 8.0], [40.0, 8.0], [8.0, 40.0], [40.0, 40.0]]


def test_squares_lie_around_boxes_but_for_the_last() -> None:
    boxes = torch.tensor([[100.0, 100.0, 150.0, 140.0]])
    squares = crop_squares(boxes, torch.tensor([320, 240]), torch.Generator().manual_seed(0))
    assert squares.shape == (CROPS, 4)
    sides = squares[:, 2:] - squares[:, :2]
    torch.testing.assert_close(sides[:, 0], sides[:, 1])
    around = squares[:-1]
    middle = (around[:, :2] + around[:, 2:]) / 2
    assert (sides[:-1, 0] >= 50 - 1e-3).all()
    assert (sides[:-1, 0] <= 90 + 1e-3).all()
    assert ((middle - torch.tensor([125.0, 120.0])).abs() <= 0.1 * sides[:-1] + 1e-3).all()


def test_an_image_without_boxes_gives_background() -> None:
    empty = torch.zeros(0, 4)
    squares = crop_squares(empty, torch.tensor([320, 240]), torch.Generator().manual_seed(0))
    assert (squares[:, 2] > squares[:, 0]).all()
    found = cell_targets(torch.zeros(CROPS, 0, 4), torch.zeros(0, dtype=torch.long), torch.zeros(4, 2), BACKGROUND)
    assert (found.labels == BACKGROUND).all()


def perfect_output(target: CellTargets) -> Tensor:
    logits = torch.nn.functional.one_hot(target.labels, BACKGROUND + 1) * 50.0
    return torch.cat([logits, (target.sides.clamp(min=1e-3) / UNIT).log()], dim=-1)


def test_a_perfect_answer_costs_nothing_and_a_wrong_one_does() -> None:
    target = CellTargets(torch.tensor([[2, BACKGROUND]]), torch.tensor([[[4.0, 8.0, 6.0, 2.0], [0.0] * 4]]))
    loss, share = cell_loss(perfect_output(target), target)
    assert loss < 1e-4
    assert share == 1.0
    wrong, share = cell_loss(torch.zeros(1, 2, BACKGROUND + 5), target)
    assert wrong > 1
    assert share == 0.0
