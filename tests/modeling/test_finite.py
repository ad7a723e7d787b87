"""What may not round under autocast does not, and no batch drives the model's gradients out of the finite numbers."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from smca.modeling import weight_maps
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.weight_maps import CentreHead, WeightMap, WeightMapHead
from tests.criterion.test_finite import image, target
from tests.modeling.tiny import stirred_model

HALVES = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
HEADS = ("class_head", "decoder.layers.1.scale_selection")


def seen_by(model: SmcaForObjectDetection, dtype: torch.dtype, explicit: bool) -> dict[str, tuple[Tensor, Any]]:
    """Input and output of every module in one training step under autocast."""
    seen: dict[str, tuple[Tensor, Any]] = {}

    def note(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            seen.setdefault(name, (inputs[0], output))

        return hook

    for name, module in model.named_modules():
        module.register_forward_hook(note(name))
    with torch.autocast("cpu", dtype):
        output = model(
            torch.randn(2, 3, 64, 96), labels=[target([(0.5, 0.5, 0.2, 0.2)])] * 2, output_attentions=explicit
        )
    assert output.loss is not None
    seen["loss"] = (output.loss, output)
    return seen


@HALVES
@pytest.mark.parametrize("explicit", [False, True])
def test_scores_boxes_maps_and_loss_are_float32_under_autocast(
    dtype: torch.dtype, explicit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps: list[Tensor] = []
    draw = weight_maps.log_weight_map
    monkeypatch.setattr(
        "smca.modeling.co_attention.log_weight_map", lambda *inputs: maps.append(draw(*inputs)) or maps[-1]
    )
    model = stirred_model(levels=("c4", "c5"), recentre=True).train()
    seen = seen_by(model, dtype, explicit)
    assert seen["encoder.blocks.0.ffn.0.0"][1].dtype == dtype
    _, output = seen["loss"]
    exact = [output.loss, output.logits, output.pred_boxes, *output.loss_parts.values(), *maps]
    for name, module in model.named_modules():
        if isinstance(module, WeightMapHead):
            exact += [part for one in seen[name][1] for part in one if part is not None]
        if isinstance(module, CentreHead):
            exact.append(seen[name][1])
    exact += [seen[name][1] for name in HEADS]
    assert {value.dtype for value in exact} == {torch.float32}
    assert len(maps) == (4 if explicit else 0)


@HALVES
def test_scores_and_boxes_are_not_rounded_while_training(dtype: torch.dtype) -> None:
    """float32 in type alone would not do: the products are made in it."""
    model = stirred_model(levels=("c4", "c5"), recentre=True).train()
    seen = seen_by(model, dtype, explicit=False)
    with torch.no_grad():
        given_to, scores = seen["class_head"]
        assert torch.equal(scores, F.linear(given_to.float(), model.class_head.weight, model.class_head.bias))
        given_to, hidden = seen["box_head.mlp"]
        assert torch.equal(hidden, nn.Sequential.forward(model.box_head.mlp, given_to.float()))
        head = next(module for module in model.modules() if isinstance(module, CentreHead))
        given_to, centre = seen[next(name for name, module in model.named_modules() if module is head)]
        assert torch.equal(centre, nn.Sequential.forward(head, given_to.float()))


def test_a_map_of_any_width_keeps_a_finite_logarithm() -> None:
    grid = weight_maps.Grid(x=torch.arange(160.0), y=torch.arange(100.0))
    head = next(part for part in stirred_model().train().modules() if isinstance(part, WeightMapHead))
    for size in (0.0, 1e-30, 1.0, 1e4):
        with torch.autocast("cpu", torch.bfloat16):
            maps = head(size * torch.randn(1, 6, 16), torch.zeros(1, 6, 2), (torch.tensor([[160.0, 100.0]]),) * 3)
        for one in maps:
            assert isinstance(one, WeightMap)
            values = weight_maps.log_weight_map(one, grid)
            assert values.dtype == torch.float32
            assert values.isfinite().all()


@settings(max_examples=25, deadline=None)
@given(
    images=st.lists(image, min_size=1, max_size=2),
    half=st.sampled_from([None, torch.bfloat16]),
    scale=st.sampled_from([0.0, 1.0, 1e4]),
    pixels=st.sampled_from([0.0, 1.0, 1e3]),
)
def test_no_batch_gives_gradients_that_are_not_finite(
    images: list[list[tuple[float, ...]]], half: torch.dtype | None, scale: float, pixels: float
) -> None:
    """`scale`: of the class head, so that logits are all zero or huge."""
    model = TINY
    model.zero_grad(set_to_none=True)
    weight = model.class_head.weight.detach().clone()
    with torch.no_grad():
        model.class_head.weight.mul_(scale)
    seen = pixels * torch.randn(len(images), 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", half) if half else nullcontext():
        loss = model(seen, labels=[target(one) for one in images]).loss
    assert loss is not None
    loss.backward()
    with torch.no_grad():
        model.class_head.weight.copy_(weight)
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


TINY = stirred_model(num_queries=300).train()
