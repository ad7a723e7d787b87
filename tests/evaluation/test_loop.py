"""Evaluation over a loader: predictions find their images, and the model is left as it was."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.ops import box_convert
from transformers import PreTrainedConfig, PreTrainedModel

from smca.data.records import Record, Split
from smca.errors import ModelError
from smca.evaluation.loop import collect
from smca.modeling.image_processing import SmcaImageProcessor
from smca.modeling.outputs import SmcaObjectDetectionOutput
from tests.evaluation.splits import NAMES, random_split

QUERIES = 10


class Oracle(PreTrainedModel):
    """Knows the answers: an image is its index in the split."""

    config_class = PreTrainedConfig

    def __init__(self, split: Split, value: float = 6.0) -> None:
        super().__init__(PreTrainedConfig(id2label=dict(enumerate(NAMES))))
        self.split = split
        self.value = value
        self.modes: set[bool] = set()

    def forward(self, pixel_values: Tensor, pixel_mask: Tensor) -> SmcaObjectDetectionOutput:
        self.modes |= {self.training, torch.is_grad_enabled()}
        assert pixel_mask.shape == pixel_values.shape
        answers = [self._answer(self.split.records[index]) for index in pixel_values.tolist()]
        logits, boxes = (torch.stack(values) for values in zip(*answers, strict=True))
        return SmcaObjectDetectionOutput(logits=logits, pred_boxes=boxes)

    def _answer(self, record: Record) -> tuple[Tensor, Tensor]:
        count, size = len(record.boxes), record.size
        logits, boxes = torch.full((QUERIES, len(NAMES)), -6.0), torch.zeros(QUERIES, 4)
        logits[range(count), record.labels] = self.value
        scale = torch.tensor([size.width, size.height, size.width, size.height])
        boxes[:count] = box_convert(torch.from_numpy(record.boxes) / scale, "xyxy", "cxcywh")
        return logits, boxes


def loader(order: list[int], batch: int) -> Iterator[dict[str, Tensor]]:
    for start in range(0, len(order), batch):
        indices = torch.tensor(order[start : start + batch])
        yield {"pixel_values": indices, "pixel_mask": torch.ones_like(indices), "records": indices}


@pytest.mark.parametrize("batch", [1, 3])
def test_right_answers_score_one(batch: int) -> None:
    split = random_split(8, 0)
    model = Oracle(split).train()
    order = np.random.default_rng(1).permutation(8).tolist()
    summary = collect(model, SmcaImageProcessor(), loader(order, batch), split, torch.device("cpu")).summary()
    assert summary["AP"] == pytest.approx(1)
    assert summary["best_threshold"] == pytest.approx(0.5)
    assert model.training
    assert model.modes == {False}


def test_answers_of_another_image_do_not() -> None:
    split = random_split(8, 0)
    shifted = ({**batch, "records": (batch["records"] + 1) % 8} for batch in loader(list(range(8)), 2))
    summary = collect(Oracle(split), SmcaImageProcessor(), shifted, split, torch.device("cpu")).summary()
    assert summary["AP"] is not None
    assert summary["AP"] < 0.1


def test_progress_counts_images() -> None:
    split = random_split(8, 0)
    seen: list[tuple[int, int]] = []
    batches = list(loader(list(range(8)), 3))
    collect(
        Oracle(split),
        SmcaImageProcessor(),
        batches,
        split,
        torch.device("cpu"),
        lambda done, total: seen.append((done, total)),
    )
    assert seen == [(3, 8), (6, 8), (8, 8)]


def test_diverged_model_is_refused_and_left_as_it_was() -> None:
    split = random_split(8, 0)
    model = Oracle(split, float("nan")).train()
    with pytest.raises(ModelError, match=r"prediction for \d\.jpg is NaN"):
        collect(model, SmcaImageProcessor(), loader(list(range(8)), 3), split, torch.device("cpu"))
    assert model.training
