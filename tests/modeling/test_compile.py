"""Compiled code gives what eager code gives, and is not compiled anew for every size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from smca.modeling.detector import SmcaForObjectDetection
from tests.modeling.independence import assert_alone_equals_batch
from tests.modeling.tiny import padded_batch, picture, small_model

SIZES = [
    [(64, 96)],
    [(70, 100)],
    [(96, 70), (64, 128)],
    [(64, 96), (64, 96)],
    [(140, 140), (140, 140)],
    [(130, 90), (100, 131), (64, 64), (97, 140)],
    [(101, 77), (90, 150)],
    [(75, 111)],
    [(150, 97), (64, 100), (131, 70), (90, 90)],
]


@pytest.fixture(autouse=True)
def _nothing_compiled() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def loss_of(model: SmcaForObjectDetection, pixels: Tensor, mask: Tensor) -> Tensor:
    draw = torch.Generator().manual_seed(len(pixels))
    labels = [
        {"class_labels": torch.tensor([0, 2]), "boxes": 0.3 + 0.2 * torch.rand(2, 4, generator=draw)} for _ in pixels
    ]
    loss = model(pixels, mask, labels=labels).loss
    assert loss is not None
    return loss


@pytest.mark.slow
@pytest.mark.parametrize("modes", [(False,), (True, False)], ids=["inference", "training and inference in turn"])
@torch._dynamo.config.patch(fail_on_recompile_limit_hit=True)
def test_any_size_is_served_by_few_compilations(modes: tuple[bool, ...]) -> None:
    eager, compiled = small_model(backbone_norm="batch"), small_model(backbone_norm="batch")
    counter = CompileCounterWithBackend("aot_eager")
    compiled.compile_for_any_size(counter)
    parts = 1 + len(compiled.encoder.blocks) + len(compiled.decoder.layers)
    counts = []
    for sizes in SIZES:
        pixels, mask = padded_batch([picture(*size, seed=i) for i, size in enumerate(sizes)])
        for training in modes:
            check = assert_same_gradients if training else assert_same_predictions
            check(eager.train(training), compiled.train(training), pixels, mask)
        counts.append(counter.frame_count)
    assert counts[-1] == counts[5]  # one image or several, padded or not: then every kind has been seen
    assert counts[-1] <= 6 * parts * len(modes)
    if modes == (False,):
        for sizes in SIZES[4:7]:
            assert_alone_equals_batch(compiled, sizes)


@torch.no_grad()
def assert_same_predictions(
    eager: SmcaForObjectDetection, compiled: SmcaForObjectDetection, pixels: Tensor, mask: Tensor
) -> None:
    found, wanted = compiled(pixels, mask), eager(pixels, mask)
    torch.testing.assert_close(found.logits, wanted.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.pred_boxes, wanted.pred_boxes, rtol=1e-4, atol=1e-5)


def assert_same_gradients(
    eager: SmcaForObjectDetection, compiled: SmcaForObjectDetection, pixels: Tensor, mask: Tensor
) -> None:
    slopes = []
    for model in (eager, compiled):
        model.zero_grad()
        loss_of(model, pixels, mask).backward()
        slopes.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    largest = max(float(slope.abs().max()) for slope in slopes[0].values())
    assert slopes[0].keys() == slopes[1].keys()
    for name, slope in slopes[0].items():
        torch.testing.assert_close(slopes[1][name], slope, rtol=1e-3, atol=1e-4 * largest)
