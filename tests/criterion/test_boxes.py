"""Boxes: conversions, and GIoU against the scalar formula and in its corner cases."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from smca.criterion.boxes import generalised_iou, to_centres, to_corners
from tests.criterion import oracle
from tests.criterion.batches import random_boxes

numbers = st.floats(0, 1, width=32)
any_box = st.tuples(numbers, numbers, numbers, numbers)


def test_conversions_are_inverse() -> None:
    boxes = random_boxes(3, 5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(to_centres(to_corners(boxes)), boxes)
    assert to_corners(torch.tensor([0.5, 0.4, 0.2, 0.4])).tolist() == pytest.approx([0.4, 0.2, 0.6, 0.6])


def test_pairwise_equals_scalar_formula() -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = to_corners(random_boxes(7, generator=generator)), to_corners(random_boxes(5, generator=generator))
    expected = [[oracle.giou(p, q) for q in b.tolist()] for p in a.tolist()]
    assert torch.allclose(generalised_iou(a[:, None], b[None]), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 0, 1, 1], [0, 0, 1, 1], 1.0),
        ([0, 0, 1, 1], [1, 0, 2, 1], 0.0),
        ([0, 0, 1, 1], [2, 0, 3, 1], -1 / 3),
        ([0, 0, 2, 2], [0, 0, 1, 1], 0.25),
        ([0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5], 0.0),
        ([0, 0, 0, 0], [1, 1, 1, 1], -1.0),
    ],
    ids=["identical", "touching", "apart", "inside", "one point", "two points"],
)
def test_known_values(a: list[float], b: list[float], expected: float) -> None:
    assert generalised_iou(torch.tensor(a).float(), torch.tensor(b).float()).item() == pytest.approx(expected)


@given(any_box, any_box)
def test_value_and_gradient_of_any_boxes_are_finite(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    first, second = torch.tensor(a, requires_grad=True), torch.tensor(b, requires_grad=True)
    value = generalised_iou(to_corners(first), to_corners(second))
    value.backward()
    assert -1 - 1e-5 <= value.item() <= 1 + 1e-5
    assert first.grad is not None
    assert first.grad.isfinite().all()
    assert second.grad is not None
    assert second.grad.isfinite().all()


@given(any_box, any_box)
def test_symmetric(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    first, second = to_corners(torch.tensor(a)), to_corners(torch.tensor(b))
    assert torch.allclose(generalised_iou(first, second), generalised_iou(second, first), atol=1e-5)


def test_gradient_is_that_of_the_value() -> None:
    generator = torch.Generator().manual_seed(2)
    a, b = (to_corners(random_boxes(6, generator=generator)).requires_grad_() for _ in range(2))
    assert gradcheck(generalised_iou, (a, b))
