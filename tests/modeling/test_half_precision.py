"""The folded form in bfloat16 and float16 against the explicit one in float64, of the same rounded numbers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from smca.modeling.folding import HALF
from tests.modeling.attention_cases import Case, drawn_case, gradients, random_case


def rounded(case: Case, dtype: torch.dtype) -> Case:
    """In float64 what the case is once queries, keys and values have been rounded."""
    return case.to(dtype).to(torch.float64)


def half_errors(case: Case, dtype: torch.dtype) -> tuple[float, list[float]]:
    """The output's largest error, and each gradient's relative one."""
    truth, tried = rounded(case, dtype), case.to(dtype)
    upstream = torch.randn(case.query.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    wanted, found = truth.explicit(), tried.folded()
    slopes = zip(gradients(wanted, truth, upstream), gradients(found, tried, upstream), strict=True)
    relative = [((b.double() - a).norm() / a.norm().clamp(min=1e-6)).item() for a, b in slopes]
    return (found.double() - wanted).detach().abs().max().item(), relative


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("rows", "columns"), [(7, 9), (25, 34), (50, 67)])
@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_half_precision_folds_as_exactly_as_it_attends(
    dtype: torch.dtype, rows: int, columns: int, padded: bool
) -> None:
    """In the paper's regime: an output is known to a few roundings, and gradients, but for the spread's.

    On large maps the spread's is noise of a fourth in bfloat16: why training attends in float32 (`working_type`).
    """
    case = random_case(rows, columns, heads=4, spread=(0.5, 2.0), width=32, queries=30, padded=padded)
    error, relative = half_errors(case, dtype)
    eps = torch.finfo(dtype).eps
    assert error <= 2 * eps * case.value.abs().max().item()
    assert max(relative[:3]) <= 4 * eps
    assert relative[3] <= 16 * eps
    assert relative[4] <= 64 * eps


@settings(deadline=None, max_examples=40)
@given(data=st.data(), dtype=st.sampled_from(HALF))
def test_half_precision_stays_near_the_truth_whatever_the_shape(data: st.DataObject, dtype: torch.dtype) -> None:
    case = drawn_case(data, outside=(0.0, 0.5), widths=(8, 32))
    tried, truth = case.to(dtype), rounded(case, dtype)
    allowed = 4 * torch.finfo(dtype).eps * (1 + math.log1p(case.steepness())) * case.value.abs().max().item()
    output = tried.folded()
    assert (output.double() - truth.explicit()).abs().max().item() <= allowed
    assert all(slope.isfinite().all() for slope in gradients(output, tried, torch.ones_like(case.query)))
