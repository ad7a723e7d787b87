"""Evaluates a model on a split: prediction over a loader, then the COCO metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, distributed
from transformers import PreTrainedModel

from smca.data.records import Split
from smca.evaluation.coco import CocoEvaluator
from smca.inference.forward import detect, evaluating
from smca.inference.loading import Processor


def collect(
    model: PreTrainedModel,
    processor: Processor,
    loader: Iterable[Mapping[str, Tensor]],
    split: Split,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> CocoEvaluator:
    """Return what `model` finds in the records that `loader` yields, joined over all processes.

    loader: batches of "pixel_values", "pixel_mask" and "records" (indices into `split.records`).
    progress: called with the images done and this process's share of all, after each batch.
    The model is put into evaluation mode and back. Raises ModelError when it predicts NaN or infinity.
    """
    evaluator = CocoEvaluator(split)
    done, share = 0, math.ceil(len(split.records) / _processes())
    with evaluating(model):
        for batch in loader:
            indices = batch["records"].tolist()
            records = [split.records[i] for i in indices]
            inputs = {name: batch[name].to(device) for name in ("pixel_values", "pixel_mask")}
            names = [str(record.path) for record in records]
            found = detect(model, processor, inputs, [record.size for record in records], names)
            for index, one in zip(indices, found, strict=True):
                evaluator.add(index, one.boxes, one.scores, one.labels)
            done += len(indices)
            if progress:
                progress(done, share)
    evaluator.gather()
    return evaluator


def _processes() -> int:
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
