"""Joining a batch's targets, and refusing those that do not fit the model."""

from __future__ import annotations

import pytest
import torch

from smca.criterion.targets import check_targets, gather_targets
from smca.errors import DataError

LIKE = torch.zeros(1)


def image(*labels: int) -> dict[str, torch.Tensor]:
    return {"class_labels": torch.tensor(labels, dtype=torch.int64), "boxes": torch.rand(len(labels), 4)}


def test_boxes_stand_in_the_order_of_images() -> None:
    targets = gather_targets([image(3), image(), image(1, 2)], LIKE)
    assert targets.labels.tolist() == [3, 1, 2]
    assert targets.image.tolist() == [0, 2, 2]
    assert targets.counts == (1, 0, 2)


def test_no_boxes_at_all() -> None:
    empty = {"class_labels": torch.zeros(0, dtype=torch.int64), "boxes": torch.zeros(0)}
    targets = gather_targets([empty, image()], LIKE)
    assert targets.boxes.shape == (0, 4)
    check_targets(targets, images=2, queries=1, classes=1)


@pytest.mark.parametrize(
    ("images", "queries", "classes", "message"),
    [
        (3, 9, 9, "2 images, the batch has 3"),
        (2, 1, 9, "has 2 boxes, the model 1 queries; set queries to 2"),
        (2, 9, 4, r"0\.\.4 found, 0\.\.3 are allowed"),
    ],
    ids=["images", "queries", "classes"],
)
def test_what_does_not_fit_is_refused(images: int, queries: int, classes: int, message: str) -> None:
    targets = gather_targets([image(0, 4), image(1)], LIKE)
    with pytest.raises(DataError, match=message):
        check_targets(targets, images, queries, classes)


def test_negative_label_is_refused() -> None:
    with pytest.raises(DataError, match=r"-1\.\.2 found"):
        check_targets(gather_targets([image(2, -1)], LIKE), images=1, queries=9, classes=9)


def test_labels_without_boxes_are_refused() -> None:
    broken = {"class_labels": torch.tensor([1, 2]), "boxes": torch.rand(1, 4)}
    with pytest.raises(DataError, match="2 classes for 1 boxes"):
        gather_targets([broken], LIKE)
