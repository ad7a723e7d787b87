"""The set criterion against the scalar loop, and what must hold of it whatever the batch."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from smca.criterion import LossWeights, MatchingCosts, SetCriterion
from smca.errors import DataError
from tests.criterion import oracle
from tests.criterion.batches import Batch, random_batch

Kind = Literal["focal", "softmax"]
KINDS = pytest.mark.parametrize("kind", ["focal", "softmax"])
PARTS = ("class", "box", "giou")


def scored(batch: Batch, kind: Kind = "focal", num_boxes: float | None = None) -> tuple[Tensor, dict[str, Tensor]]:
    return SetCriterion(kind)(batch.logits, batch.boxes, batch.targets, num_boxes)


def gradients(batch: Batch, loss: Tensor) -> tuple[Tensor, Tensor]:
    first, second = torch.autograd.grad(loss, (batch.logits, batch.boxes))
    return first, second


@KINDS
@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=3), st.integers(1, 3), st.integers(0, 999))
def test_equals_scalar_loop(kind: Kind, counts: list[int], layers: int, seed: int) -> None:
    batch = random_batch(counts, layers=layers, outputs=4 + (kind == "softmax"), seed=seed)
    targets = [(target["class_labels"].numpy(), target["boxes"].numpy()) for target in batch.targets]
    expected = oracle.loss(kind, batch.logits.detach().numpy(), batch.boxes.detach().numpy(), targets)
    assert scored(batch, kind)[0].item() == pytest.approx(expected, rel=1e-9)


@KINDS
def test_gradient_is_that_of_the_value(kind: Kind) -> None:
    batch = random_batch([2, 3], queries=4, outputs=5)
    assert torch.autograd.gradcheck(
        lambda logits, boxes: SetCriterion(kind)(logits, boxes, batch.targets)[0], (batch.logits, batch.boxes)
    )


@KINDS
@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=3), st.floats(0.1, 80), st.integers(0, 999))
def test_loss_and_gradients_are_finite(kind: Kind, counts: list[int], scale: float, seed: int) -> None:
    batch = random_batch(counts, outputs=5, seed=seed, dtype=torch.float32)
    batch.logits.data *= scale
    loss, parts = scored(batch, kind)
    assert loss.isfinite()
    assert loss >= 0
    assert all(value.isfinite() and not value.requires_grad for value in parts.values())
    assert all(gradient.isfinite().all() for gradient in gradients(batch, loss))


@KINDS
def test_no_boxes_teaches_classes_only(kind: Kind) -> None:
    batch = random_batch([0, 0], outputs=5)
    loss, parts = scored(batch, kind)
    of_logits, of_boxes = gradients(batch, loss)
    assert loss.isfinite()
    assert parts["box"] == parts["giou"] == 0
    assert of_logits.abs().sum() > 0
    assert of_boxes.abs().sum() == 0


def test_perfect_boxes_cost_nothing() -> None:
    batch = random_batch([3, 2], queries=3)
    with torch.no_grad():
        batch.boxes[:, 0] = batch.targets[0]["boxes"]
        batch.boxes[:, 1, :2] = batch.targets[1]["boxes"]
    parts = scored(batch)[1]
    assert parts["box_total"].item() == pytest.approx(0)
    assert parts["giou_total"].item() == pytest.approx(0)


def test_order_of_boxes_does_not_matter() -> None:
    batch = random_batch([5])
    turned = [{name: value.flip(0) for name, value in batch.targets[0].items()}]
    assert torch.allclose(scored(batch)[0], scored(Batch(batch.logits, batch.boxes, turned))[0])


def test_every_layer_counts_alike() -> None:
    batch = random_batch([2, 3], layers=3)
    each = [Batch(batch.logits[i, None], batch.boxes[i, None], batch.targets) for i in range(3)]
    assert torch.allclose(scored(batch)[0], torch.stack([scored(one)[0] for one in each]).sum())


@KINDS
def test_groups_of_queries_count_as_their_mean(kind: Kind) -> None:
    batch = random_batch([2, 3, 0], queries=8, outputs=5)
    halves = [
        Batch(batch.logits[:, :, part], batch.boxes[:, :, part], batch.targets) for part in (slice(4), slice(4, 8))
    ]
    loss, parts = SetCriterion(kind)(batch.logits, batch.boxes, batch.targets, groups=2)
    each = [scored(half, kind) for half in halves]
    assert torch.allclose(loss, torch.stack([one[0] for one in each]).mean())
    assert all(torch.allclose(parts[name], torch.stack([one[1][name] for one in each]).mean()) for name in PARTS)


@KINDS
def test_parts_add_up(kind: Kind) -> None:
    batch = random_batch([2, 3], outputs=5)
    loss, parts = SetCriterion(kind, LossWeights(1, 3, 7))(batch.logits, batch.boxes, batch.targets)
    total = sum(weight * parts[f"{name}_total"] for weight, name in zip((1, 3, 7), PARTS, strict=True))
    assert torch.allclose(loss, torch.as_tensor(total))
    last = Batch(batch.logits[-1:], batch.boxes[-1:], batch.targets)
    assert all(torch.allclose(scored(last, kind)[1][name], parts[name]) for name in PARTS)


def test_costs_choose_the_queries() -> None:
    batch = random_batch([1], layers=1, queries=2, classes=2)
    with torch.no_grad():
        batch.boxes[0, 0, 0] = batch.targets[0]["boxes"][0]
        batch.logits[0, 0, :, batch.targets[0]["class_labels"][0]] = torch.tensor([-5.0, 5.0]).double()
    by_box, by_class = (
        SetCriterion(costs=costs)(batch.logits, batch.boxes, batch.targets)[1]["box"]
        for costs in (MatchingCosts(0, 1, 1), MatchingCosts(1, 0, 0))
    )
    assert by_box.item() == pytest.approx(0)
    assert by_class > 0.01


def test_batches_add_up_through_the_number_of_boxes() -> None:
    whole = random_batch([2, 3, 0, 1])
    halves = [Batch(whole.logits[:, i : i + 2], whole.boxes[:, i : i + 2], whole.targets[i : i + 2]) for i in (0, 2)]
    mean = torch.stack([scored(half, num_boxes=3.0)[0] for half in halves]).mean()
    assert torch.allclose(scored(whole)[0], mean)


def test_softmax_batches_add_up_through_the_number_of_boxes() -> None:
    whole = random_batch([2, 3, 0, 1], outputs=5)
    halves = [Batch(whole.logits[:, i : i + 2], whole.boxes[:, i : i + 2], whole.targets[i : i + 2]) for i in (0, 2)]
    mean = torch.stack([scored(half, "softmax", num_boxes=3.0)[0] for half in halves]).mean()
    assert torch.allclose(scored(whole, "softmax")[0], mean)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_scored_in_float32(dtype: torch.dtype) -> None:
    batch = random_batch([2, 3], dtype=torch.float32)
    half = Batch(batch.logits.detach().to(dtype), batch.boxes.detach().to(dtype), batch.targets)
    exact = Batch(half.logits.float(), half.boxes.float(), batch.targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = scored(half)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, scored(exact)[0])


def test_non_finite_predictions_do_not_crash() -> None:
    batch = random_batch([2])
    batch.logits.data[:] = float("nan")
    assert scored(batch)[0].isnan()


def test_more_boxes_than_queries_is_refused() -> None:
    with pytest.raises(DataError, match="set queries to 7"):
        scored(random_batch([7], queries=6))


def test_softmax_keeps_the_last_output_for_no_object() -> None:
    batch = random_batch([1], outputs=4)
    batch.targets[0]["class_labels"][:] = 3
    with pytest.raises(DataError, match=r"0\.\.2 are allowed"):
        scored(batch, "softmax")


def test_holds_nothing_to_save() -> None:
    assert not SetCriterion("softmax").state_dict()
