"""The authors' public models in our parts: every decoder layer's logits and boxes, and gradients, as theirs.

Transformer cases take features; whole models are checked in tests/interchange/test_golden_checkpoints.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from smca.interchange.layout import layout_of
from smca.interchange.names import source_of
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.geometry import BatchSizes
from tests.modeling.official import Golden
from tests.modeling.tiny import small_model

OUTPUTS = {torch.float32: 5e-6, torch.float64: 2e-6}
GRADIENTS = {torch.float32: 2e-5, torch.float64: 1e-5}  # on a processor with AMX float32 came to 1.7e-5
SPREADS = {
    "transformer_type1": "fixed",
    "transformer_type2": "single",
    "transformer_type3": "independent",
    "transformer_type4": "product",
}
PRECISIONS = pytest.mark.parametrize("dtype", list(OUTPUTS), ids=["float32", "float64"])


@pytest.fixture(scope="module", params=SPREADS)
def golden(request: pytest.FixtureRequest, shared: Path) -> Golden:
    return Golden(shared / "golden", request.param)


def transformer(golden: Golden, dtype: torch.dtype) -> SmcaForObjectDetection:
    """Our model with the case's weights; its backbone, which the case has none of, gives maps of the right width."""
    checkpoint = golden.checkpoint()
    layout = layout_of(checkpoint)
    widths = (4, 4, 4, 4, golden.case["channels"])
    model = small_model(**layout.switches, num_labels=layout.outputs, backbone_widths=widths)
    ours = {name: value for name, value in model.state_dict().items() if not name.startswith("backbone.")}
    sources = {name: source_of(name, levels=1) for name in ours}
    assert {source.key for source in sources.values()} == set(checkpoint.tensors)
    weights = {
        name: source.take(checkpoint.tensors[source.key], tuple(ours[name].shape)) for name, source in sources.items()
    }
    model.load_state_dict(weights, strict=False)
    return model.double() if dtype == torch.float64 else model


def predict(model: SmcaForObjectDetection, golden: Golden, features: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and boxes of all layers from features that go straight into the input projection."""
    height, width = (torch.tensor(extents) for extents in zip(*golden.case["sizes"], strict=True))
    tokens = model.input_projection({"c5": features}, BatchSizes(height=height, width=width), True)
    decoded = model.decoder(model.encoder(tokens), model.box_head)
    return model.class_head(decoded.outputs), model.box_head(decoded.outputs, decoded.centre_logits)


@PRECISIONS
def test_transformer_outputs(golden: Golden, dtype: torch.dtype) -> None:
    model = transformer(golden, dtype)
    assert model.config.spread == SPREADS[f"transformer_{golden.case['config']['dynamic_scale']}"]
    features = golden.normal("features", golden.expected["grad.features"].shape).to(dtype)
    logits, boxes = predict(model, golden, features)
    for found, key in ((logits, "pred_logits"), (boxes, "pred_boxes")):
        np.testing.assert_allclose(found.detach(), golden.expected[key], rtol=0, atol=OUTPUTS[dtype])


@PRECISIONS
def test_transformer_gradients(golden: Golden, dtype: torch.dtype) -> None:
    model = transformer(golden, dtype)
    features = golden.normal("features", golden.expected["grad.features"].shape).to(dtype).requires_grad_()
    logits, boxes = predict(model, golden, features)
    total = (logits * golden.normal("cotangent_logits", logits.shape).to(dtype)).sum()
    (total + (boxes * golden.normal("cotangent_boxes", boxes.shape).to(dtype)).sum()).backward()
    wanted = {key.removeprefix("grad."): value for key, value in golden.expected.items() if key.startswith("grad.")}
    assert_equal(features, wanted.pop("features"), "features")
    for name, parameter in model.named_parameters():
        expected = wanted.pop(source_of(name, levels=1).key, None)
        if expected is not None:
            assert_equal(parameter, expected.reshape(parameter.shape), name)
    assert wanted == {}


def assert_equal(leaf: Tensor, wanted: np.ndarray, name: str) -> None:
    assert leaf.grad is not None
    assert np.abs(leaf.grad.numpy() - wanted).max() <= GRADIENTS[leaf.dtype] * np.abs(wanted).max(), name
