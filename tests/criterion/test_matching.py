"""Matching against scalar costs and brute force, and with outputs no model should give."""

from __future__ import annotations

from itertools import permutations
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from smca.criterion.classification import ClassTerm, FocalTerm, SoftmaxTerm
from smca.criterion.matching import MatchingCosts, match, matching_cost
from smca.criterion.targets import gather_targets
from tests.criterion import oracle
from tests.criterion.batches import Batch, random_batch

Kind = Literal["focal", "softmax"]
TERMS: dict[Kind, ClassTerm] = {"focal": FocalTerm(), "softmax": SoftmaxTerm()}
KINDS = pytest.mark.parametrize("kind", TERMS)


def matched(batch: Batch, kind: Kind = "focal", logits: Tensor | None = None) -> Tensor:
    targets = gather_targets(batch.targets, batch.boxes)
    return match(batch.logits if logits is None else logits, batch.boxes, targets, TERMS[kind], MatchingCosts())


def scalar_costs(batch: Batch, kind: Kind, layer: int, image: int) -> np.ndarray:
    target = batch.targets[image]
    outputs = batch.logits[layer, image].detach().numpy(), batch.boxes[layer, image].detach().numpy()
    return oracle.costs(kind, *outputs, target["class_labels"].numpy(), target["boxes"].numpy())


@KINDS
def test_costs_equal_scalar_loop(kind: Kind) -> None:
    batch = random_batch([2, 0, 4], outputs=5)
    targets = gather_targets(batch.targets, batch.boxes)
    cost = matching_cost(batch.logits, batch.boxes, targets, TERMS[kind], MatchingCosts()).detach().numpy()
    for layer in range(2):
        expected = np.concatenate([scalar_costs(batch, kind, layer, image) for image in (0, 2)])
        np.testing.assert_allclose(cost[layer], expected, rtol=1e-9)


@KINDS
@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=3), st.integers(0, 999))
def test_no_assignment_is_cheaper(kind: Kind, counts: list[int], seed: int) -> None:
    batch = random_batch(counts, queries=4, outputs=5, seed=seed)
    parts = matched(batch, kind).split(counts, dim=1)
    for layer in range(2):
        for image, part in enumerate(parts):
            cost = scalar_costs(batch, kind, layer, image)
            rows = range(counts[image])
            best = min(cost[rows, list(chosen)].sum() for chosen in permutations(range(4), counts[image]))
            assert cost[rows, part[layer].numpy()].sum() == pytest.approx(best)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=4), st.integers(0, 999))
@settings(max_examples=30, deadline=None)
def test_no_query_twice(counts: list[int], seed: int) -> None:
    for part in matched(random_batch(counts, seed=seed)).split(counts, dim=1):
        for queries in part.tolist():
            assert len(set(queries)) == len(queries)
            assert all(0 <= query < 6 for query in queries)


def test_image_is_matched_as_if_alone() -> None:
    batch = random_batch([3, 2, 5], layers=3)
    together = matched(batch).split([3, 2, 5], dim=1)
    for image in range(3):
        alone = Batch(batch.logits[:, image, None], batch.boxes[:, image, None], [batch.targets[image]])
        assert torch.equal(matched(alone), together[image])


def test_identical_boxes_get_different_queries() -> None:
    batch = random_batch([4], queries=4)
    batch.targets[0]["boxes"][:] = 0.5
    batch.targets[0]["class_labels"][:] = 1
    assert all(sorted(queries) == [0, 1, 2, 3] for queries in matched(batch).tolist())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 3e38])
def test_broken_query_is_taken_last(value: float) -> None:
    batch = random_batch([4], queries=5, dtype=torch.float32)
    logits = batch.logits.detach().clone()
    logits[0, 0, 2] = value
    chosen = matched(batch, logits=logits)[0].tolist()
    assert len(set(chosen)) == 4
    assert 2 not in chosen or value == 3e38


def test_nothing_but_nan_still_matches() -> None:
    batch = random_batch([3, 1])
    assert matched(batch, logits=torch.full_like(batch.logits, float("nan"))).shape == (2, 4)


def test_no_boxes() -> None:
    assert matched(random_batch([0, 0])).shape == (2, 0)
