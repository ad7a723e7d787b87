"""What "an image's prediction does not depend on its batch" means, for anything that looks at pixels and a mask."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.modeling.tiny import padded_batch, picture

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
SIDES = st.integers(1, 140)
SIZES = st.tuples(SIDES, SIDES)
COMPANY = st.lists(SIZES, min_size=1, max_size=2).flatmap(
    lambda sizes: st.permutations([*sizes, sizes[0]])  # some go through together for their like size
)


@torch.no_grad()
def seen(model: Any, pixels: Tensor, mask: Tensor | None = None) -> Tensor:
    """Logits and boxes of an image, side by side [B, N, K + 4]."""
    output = model(pixels, mask)
    return torch.cat([output.logits, output.pred_boxes], dim=-1)


def assert_alone_equals_batch(model: Any, sizes: list[tuple[int, int]], dtype: torch.dtype = torch.float32) -> None:
    """Padding holds values that would be seen at once."""
    pictures = [picture(*size, seed=index).to(dtype) for index, size in enumerate(sizes)]
    together = seen(model, *padded_batch(pictures, fill=3.0))
    for index, one in enumerate(pictures):
        alone = seen(model, one[None])[0]
        assert (together[index] - alone).abs().max().item() < TOLERANCE[dtype], (sizes, index)


def assert_independent(model: Any, examples: int) -> None:
    """Whatever the sizes of an image and its companions."""

    @settings(deadline=None, max_examples=examples)
    @given(sizes=COMPANY)
    def holds(sizes: list[tuple[int, int]]) -> None:
        assert_alone_equals_batch(model, sizes)

    holds()
