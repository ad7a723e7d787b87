"""Gradients of the whole model: every parameter has one, and checkpointing changes none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from smca.errors import ConfigurationError
from smca.modeling.detector import SmcaForObjectDetection
from tests.modeling.tiny import padded_batch, picture, small_model, stirred_model


def gradients(model: SmcaForObjectDetection) -> dict[str, Tensor | None]:
    """Of every parameter that trains, for one batch and one course of dropout."""
    model.train().zero_grad()
    torch.manual_seed(0)
    pixels, mask = padded_batch([picture(70, 101), picture(50, 60)])
    wanted = {"class_labels": torch.tensor([0, 2]), "boxes": torch.tensor([[0.4, 0.5, 0.3, 0.2], [0.6, 0.3, 0.2, 0.5]])}
    model(pixels, mask, [wanted] * 2).loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def checkpointing(model: Any, options: dict[str, Any] | None = None) -> None:
    """Begin it, under the name it has in this version of transformers."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable(options)


@pytest.mark.parametrize("switches", [{}, {"encoder": ("depthwise", "intra"), "pre_norm": True}], ids=str)
def test_checkpointing_computes_twice_and_changes_no_gradient(switches: dict[str, Any]) -> None:
    model: Any = stirred_model(dropout=0.1, attention_dropout=0.1, **switches)
    runs: list[str] = []
    for name in ("encoder.blocks.0.ffn", "decoder.layers.1.ffn"):
        model.get_submodule(name).register_forward_hook(lambda *_, name=name: runs.append(name))
    wanted = gradients(model)
    assert len(runs) == 2
    checkpointing(model)
    found = gradients(model)
    assert len(runs) == 6
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, msg=name)


def test_checkpointing_that_loses_gradients_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="use_reentrant"):
        checkpointing(small_model(), {"use_reentrant": True})


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"modulation": "none"},
        {"modulation": "none", "box_prior": False},
        {"modulation": "none", "box_prior": False, "levels": ("c5",)},
        {"spread": "fixed", "scale_selection": False},
    ],
    ids=str,
)
def test_every_parameter_is_used(switches: dict[str, Any]) -> None:
    """Training on several devices waits for the gradient of each."""
    assert [name for name, gradient in gradients(small_model(**switches)).items() if gradient is None] == []
