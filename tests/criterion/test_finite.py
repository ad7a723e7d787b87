"""Whatever a batch shows and a model says in finite numbers: no NaN in loss or gradients, and float32 throughout."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from smca.criterion import SetCriterion, matching
from smca.criterion.classification import FocalTerm, SoftmaxTerm
from smca.criterion.matching import MatchingCosts, matching_cost
from smca.criterion.targets import gather_targets
from tests.criterion.batches import random_batch

Kind = Literal["focal", "softmax"]
KINDS = pytest.mark.parametrize("kind", ["focal", "softmax"])
QUERIES = 300
PIXEL = 1 / 1333
SHAPES = {
    "pixel": (0.4, 0.6, PIXEL, PIXEL),
    "point": (0.5, 0.5, 0.0, 0.0),
    "less than a number": (0.5, 0.5, 1e-30, 1e-30),
    "line": (0.5, 0.5, 1.0, PIXEL / 100),
    "upright line": (0.2, 0.5, 0.0, 1.0),
    "whole image": (0.5, 0.5, 1.0, 1.0),
    "corner": (0.0, 0.0, PIXEL, PIXEL),
    "far corner": (1.0, 1.0, 0.0, 0.0),
    "over the border": (1.0, 0.5, 0.5, 2.0),
}
shapes = st.sampled_from(list(SHAPES.values()))
image = st.one_of(
    st.lists(shapes, max_size=4),
    st.tuples(shapes, st.sampled_from([2, 17, QUERIES])).map(lambda one: [one[0]] * one[1]),
)


def target(boxes: list[tuple[float, ...]]) -> dict[str, Tensor]:
    return {"class_labels": torch.arange(len(boxes)) % 3, "boxes": torch.tensor(boxes).reshape(-1, 4)}


@KINDS
@settings(max_examples=40, deadline=None)
@given(
    images=st.lists(image, min_size=1, max_size=3),
    logit=st.sampled_from([0.0, 1.0, -1e4, 65504.0, -1e30, 1e30]),
    spread=st.sampled_from([0.0, 1.0, 1e4]),
    predicted=st.one_of(st.none(), shapes),
    half=st.booleans(),
)
def test_no_batch_gives_nan(
    kind: Kind,
    images: list[list[tuple[float, ...]]],
    logit: float,
    spread: float,
    predicted: tuple[float, ...] | None,
    half: bool,
) -> None:
    """`predicted`: all queries say that one box, else random ones."""
    batch = random_batch([0] * len(images), queries=QUERIES, outputs=4, dtype=torch.float32)
    logits = (logit + spread * batch.logits.detach()).requires_grad_()
    boxes = batch.boxes if predicted is None else torch.tensor(predicted).expand(batch.boxes.shape).clone()
    boxes = boxes.detach().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
        loss, parts = SetCriterion(kind)(logits, boxes, [target(one) for one in images])
    slopes = torch.autograd.grad(loss, (logits, boxes))
    assert loss.isfinite()
    assert all(part.isfinite() for part in parts.values())
    assert all(slope.isfinite().all() for slope in slopes)


@KINDS
@pytest.mark.parametrize("most", [1e35, -1e35])
def test_logits_near_the_end_of_the_range_give_no_nan(kind: Kind, most: float) -> None:
    """A sum of them may overflow to infinity; from 1e36 on, also the difference of two such sums."""
    batch = random_batch([QUERIES, 3], queries=QUERIES, outputs=5, dtype=torch.float32)
    logits = torch.full_like(batch.logits, most).requires_grad_()
    loss, _ = SetCriterion(kind)(logits, batch.boxes, batch.targets)
    assert not loss.isnan()
    assert all(slope.isfinite().all() for slope in torch.autograd.grad(loss, (logits, batch.boxes)))


@KINDS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_costs_and_losses_are_float32_under_autocast(
    kind: Kind, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = random_batch([2, 3], outputs=5, dtype=torch.float32)
    logits, boxes = (values.detach().to(dtype) for values in (batch.logits, batch.boxes))
    targets = gather_targets(batch.targets, batch.boxes)
    term = FocalTerm() if kind == "focal" else SoftmaxTerm()
    exact = matching_cost(logits.float(), boxes.float(), targets, term, MatchingCosts())
    costs: list[Tensor] = []

    def kept(*inputs: Any) -> Tensor:
        costs.append(matching_cost(*inputs))
        return costs[-1]

    monkeypatch.setattr(matching, "matching_cost", kept)
    with torch.autocast("cpu", dtype):
        loss, parts = SetCriterion(kind)(logits, boxes, batch.targets)
    assert {loss.dtype, costs[0].dtype, *(part.dtype for part in parts.values())} == {torch.float32}
    assert torch.equal(costs[0], exact)
