from __future__ import annotations

import math

import pytest
import torch

from smca.modeling.decoder import Decoder
from smca.modeling.reference import FINEST, BoxPosition, Reference
from tests.modeling.tiny import picture, small_config, small_model, stir

CHANNELS = 16


def test_a_boxs_position_equals_the_loop() -> None:
    module = stir(BoxPosition(CHANNELS)).double()
    logit = torch.randn(2, 3, 4, dtype=torch.float64)
    found = module(Reference(logit[..., :2], logit[..., 2:]))
    count = CHANNELS // 4
    for b, n in ((0, 0), (1, 2)):
        box = [1 / (1 + math.exp(-float(x))) for x in logit[b, n]]
        waves = [2 * math.pi * x * FINEST ** (k / (count - 1)) for x in box for k in range(count)]
        features = torch.tensor([*map(math.sin, waves), *map(math.cos, waves)], dtype=torch.float64)
        torch.testing.assert_close(found[b, n], module.linear.weight @ features + module.linear.bias)


def test_queries_on_one_object_see_each_other_from_the_second_layer_on() -> None:
    """A nudge to what the box adds to the position changes the later layers and not the first."""
    model = small_model(recentre=True, decoder_layers=3)
    pixels = picture(64, 96)[None]
    before = model(pixels, intermediates=True).intermediates.all_logits
    position = model.decoder.box_position
    assert position is not None
    assert position.linear.weight.abs().max() == 0
    stir(position, amount=1.0)
    after = model(pixels, intermediates=True).intermediates.all_logits
    assert torch.equal(before[0], after[0])
    assert all(not torch.allclose(one, other) for one, other in zip(before[1:], after[1:], strict=True))


@pytest.mark.parametrize("switches", [{}, {"recentre": True, "decoder_layers": 1}])
def test_without_a_layer_to_read_it_there_is_no_box_position(switches: dict[str, object]) -> None:
    assert Decoder(small_config(**switches)).box_position is None


def test_training_reaches_it() -> None:
    model = small_model(recentre=True, decoder_layers=3).train()
    labels = [{"class_labels": torch.tensor([1]), "boxes": torch.tensor([[0.5, 0.5, 0.2, 0.2]])}]
    model(picture(64, 96)[None], labels=labels).loss.backward()
    gradient = model.get_parameter("decoder.box_position.linear.weight").grad
    assert gradient is not None
    assert gradient.abs().max() > 0
