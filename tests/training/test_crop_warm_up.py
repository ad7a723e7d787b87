from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from smca.criterion.boxes import to_centres
from smca.data.records import Record
from smca.data.transforms import Augmentation, TrainTransform
from smca.modeling.backbone import Backbone
from smca.modeling.geometry import LevelGeometry
from smca.modeling.image_processing import SmcaImageProcessor
from smca.sizes import ImageSize
from smca.training.crop_warm_up import (
    CROPS,
    SIDE,
    UNIT,
    ZOOM,
    CellTargets,
    CropDataset,
    cell_centres,
    cell_loss,
    cell_targets,
    coarsest_levels,
    crop_squares,
    warm_up,
)
from tests.modeling.tiny import small_config

BACKGROUND = 7


STRIDE = 16


def target_of_one_cell(boxes: list[list[float]], labels: list[int], x: float, y: float) -> tuple[int, list[float]]:
    """The smallest box around the cell, by looking at each; a box reaches at least half a cell from its middle."""
    best, area = -1, float("inf")
    for index, (left, top, right, bottom) in enumerate(boxes):
        width, height = right - left, bottom - top
        near_x = abs(x - (left + right) / 2) <= max(width, STRIDE) / 2
        near_y = abs(y - (top + bottom) / 2) <= max(height, STRIDE) / 2
        if near_x and near_y and width * height < area:
            best, area = index, width * height
    if best < 0:
        return BACKGROUND, []
    left, top, right, bottom = boxes[best]
    return labels[best], [left - x, top - y, right - x, bottom - y]


@given(st.integers(0, 4), st.integers(0, 2**16))
@settings(deadline=None, max_examples=40)
def test_cells_get_the_smallest_box_around_them(count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(3, count, 2, generator=generator) * SIDE
    boxes = torch.cat([corner, corner + 5 + 30 * torch.rand(3, count, 2, generator=generator)], dim=-1)
    labels = torch.randint(0, BACKGROUND, (count,), generator=generator)
    centres = cell_centres(LevelGeometry("c4", STRIDE, 8, 0.3))
    found = cell_targets(boxes, labels, centres, STRIDE, BACKGROUND)
    assert found.labels.shape == (3, 16)
    for crop in range(3):
        for cell, (x, y) in enumerate(centres.tolist()):
            label, box = target_of_one_cell(boxes[crop].tolist(), labels.tolist(), x, y)
            assert found.labels[crop, cell] == label
            if box:
                torch.testing.assert_close(found.boxes[crop, cell], torch.tensor(box), atol=1e-4, rtol=0)


def test_cells_lie_row_by_row_where_the_level_says() -> None:
    centres = cell_centres(LevelGeometry("c5", 32, 8, 0.25))
    assert centres.tolist() == [[8.0, 8.0], [40.0, 8.0], [8.0, 40.0], [40.0, 40.0]]


LEAST = torch.full((CROPS,), 21.0)


def test_squares_lie_around_boxes_but_for_the_last() -> None:
    boxes = torch.tensor([[100.0, 100.0, 150.0, 140.0]])
    squares = crop_squares(boxes, torch.ones(1), torch.tensor([320, 240]), LEAST, torch.Generator().manual_seed(0))
    assert squares.shape == (CROPS, 4)
    sides = squares[:, 2:] - squares[:, :2]
    torch.testing.assert_close(sides[:, 0], sides[:, 1])
    around = squares[:-1]
    middle = (around[:, :2] + around[:, 2:]) / 2
    assert (sides[:-1, 0] >= 50 - 1e-3).all()
    assert (sides[:-1, 0] <= 90 + 1e-3).all()
    moved = (middle - torch.tensor([125.0, 120.0])).abs()
    assert (moved <= torch.maximum(0.1 * sides[:-1], (sides[:-1] - 50) / 2) + 1e-3).all()
    assert (moved > 0.12 * sides[:-1]).any()


def test_boxes_are_chosen_by_their_chances() -> None:
    boxes = torch.tensor([[0.0, 0.0, 30.0, 30.0], [200.0, 200.0, 230.0, 230.0]])
    chances, extent = torch.tensor([3.0, 1.0]), torch.tensor([320, 320])
    generator = torch.Generator().manual_seed(0)
    squares = torch.stack([crop_squares(boxes, chances, extent, LEAST, generator)[:-1] for _ in range(40)])
    share = (squares[..., 0] < 100).float().mean()
    assert 0.68 < share < 0.82


def test_squares_are_no_smaller_than_said() -> None:
    boxes = torch.tensor([[100.0, 100.0, 104.0, 106.0]])
    least = torch.linspace(20, 90, CROPS)
    squares = crop_squares(boxes, torch.ones(1), torch.tensor([320, 240]), least, torch.Generator().manual_seed(0))
    torch.testing.assert_close((squares[:, 2] - squares[:, 0])[:-1], least[:-1])


def test_natural_crops_show_small_objects_no_larger_than_training_will(tmp_path: Path) -> None:
    Image.new("RGB", (640, 480)).save(tmp_path / "image.png")
    box = np.array([[300.0, 200.0, 312.0, 208.0]], np.float32)
    size = ImageSize(height=480, width=640)
    one = np.ones(1)
    record = Record(1, tmp_path / "image.png", size, box, np.zeros(1, np.int64), one < 0, one * 96)
    level = LevelGeometry("c4", STRIDE, 8, 0.5)
    halved = TrainTransform(Augmentation.none(240, 400))
    dataset = CropDataset([record], halved, 1, [level], seed=0)
    widths = {}
    for natural in (0.0, 1.0):
        dataset.natural = natural
        target = dataset[0][1][0]
        boxes = target.boxes[target.labels == 0]
        widths[natural] = (boxes[:, 2] - boxes[:, 0]).max()
    torch.testing.assert_close(widths[1.0], torch.tensor(6.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(widths[0.0], torch.tensor(6.0 * ZOOM), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("rate", "moves"), [(None, True), (1e-4, True), (0.0, False)])
def test_a_backbone_learns_at_its_own_rate_and_frozen_stages_do_not(
    rate: float | None, moves: bool, tmp_path: Path
) -> None:
    Image.effect_noise((64, 64), 90).save(tmp_path / "image.png")
    size, one = ImageSize(height=64, width=64), np.ones(1)
    box = np.array([[10.0, 10.0, 50.0, 50.0]], np.float32)
    record = Record(1, tmp_path / "image.png", size, box, np.zeros(1, np.int64), one < 0, one * 1600)
    backbone = Backbone(small_config(backbone_norm="batch", frozen_stages=2))
    before = {name: value.clone() for name, value in backbone.named_parameters()}
    plain = TrainTransform(Augmentation.none(64, 64))
    dataset = CropDataset([record], plain, 1, coarsest_levels(backbone), seed=0)
    warm_up(backbone, dataset, 1.0, SmcaImageProcessor(), 0, torch.device("cpu"), lambda *_: None, rate)
    for name, value in backbone.named_parameters():
        assert torch.equal(value, before[name]) != (moves and value.requires_grad), name


def test_an_image_without_boxes_gives_background() -> None:
    empty = torch.zeros(0, 4)
    squares = crop_squares(empty, torch.ones(0), torch.tensor([320, 240]), LEAST, torch.Generator().manual_seed(0))
    assert (squares[:, 2] > squares[:, 0]).all()
    none = torch.zeros(CROPS, 0, 4)
    found = cell_targets(none, torch.zeros(0, dtype=torch.long), torch.zeros(4, 2), STRIDE, BACKGROUND)
    assert (found.labels == BACKGROUND).all()


def perfect_output(target: CellTargets) -> Tensor:
    logits = torch.nn.functional.one_hot(target.labels, BACKGROUND + 1) * 50.0
    centre, sides = to_centres(target.boxes / UNIT).split(2, dim=-1)
    return torch.cat([logits, centre, sides.clamp(min=1e-3).log()], dim=-1)


def test_a_perfect_answer_costs_nothing_and_a_wrong_one_does() -> None:
    target = CellTargets(torch.tensor([[2, BACKGROUND]]), torch.tensor([[[4.0, -8.0, 26.0, 2.0], [0.0] * 4]]))
    loss, share = cell_loss(perfect_output(target), target)
    assert loss < 1e-4
    assert share == 1.0
    wrong, share = cell_loss(torch.zeros(1, 2, BACKGROUND + 5), target)
    assert wrong > 1
    assert share == 0.0
