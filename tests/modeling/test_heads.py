"""E9 against the scalar loop: the centre is added before the sigmoid, at every layer, to x and y only."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from smca.modeling.heads import BoxHead, ClassHead
from tests.modeling import oracle
from tests.modeling.tiny import stir


@pytest.mark.parametrize("prior", [True, False])
def test_boxes_equal_the_scalar_loop(prior: bool) -> None:
    torch.manual_seed(2)
    head = stir(BoxHead(8, prior), 0.3).double()
    decoded, centre = torch.randn(3, 2, 4, 8).double(), 3 * torch.randn(2, 4, 2).double()
    found = head(decoded, centre)
    for layer, image, query in np.ndindex(3, 2, 4):
        logit = oracle.mlp(head.mlp, decoded[layer, image, query].numpy())
        if prior:
            logit[:2] += centre[image, query].numpy()
        wanted = [oracle.sigmoid(x) for x in logit]
        np.testing.assert_allclose(found[layer, image, query].detach(), wanted, atol=1e-12)


def test_scores_equal_the_scalar_loop() -> None:
    head = stir(ClassHead(8, 5, focal=True), 0.3).double()
    decoded = torch.randn(8).double()
    np.testing.assert_allclose(head(decoded).detach(), oracle.linear(head, decoded.numpy()), atol=1e-12)


def test_predictions_are_float32_under_autocast() -> None:
    decoded, centre = torch.randn(1, 1, 2, 8), torch.randn(1, 2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        found = (ClassHead(8, 5, focal=True)(decoded), BoxHead(8, True)(decoded, centre))
    assert {one.dtype for one in found} == {torch.float32}
