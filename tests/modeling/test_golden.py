"""The authors' public models in our parts: every decoder layer's logits and boxes, and gradients, as theirs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.geometry import BatchSizes
from tests.modeling.official import Golden, our_name, our_switches
from tests.modeling.tiny import padded_batch, small_model

OUTPUTS = {torch.float32: 5e-6, torch.float64: 2e-6}
GRADIENTS = 1e-5
CASES = pytest.mark.parametrize("name", ["transformer_type1", "transformer_type2", "transformer_type3"])
PRECISIONS = pytest.mark.parametrize("dtype", list(OUTPUTS), ids=["float32", "float64"])


def transformer(golden: Golden, dtype: torch.dtype) -> SmcaForObjectDetection:
    """Our model with the case's weights; its backbone, which the case has none of, gives maps of the right width."""
    widths = (4, 4, 4, 4, golden.case["channels"])
    model = small_model(**our_switches(golden.case["config"]), backbone_widths=widths)
    missing, unexpected = model.load_state_dict(golden.weights(), strict=False)
    assert unexpected == []
    assert all(name.startswith("backbone.") for name in missing)
    return model.double() if dtype == torch.float64 else model


def predict(model: SmcaForObjectDetection, golden: Golden, features: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and boxes of all layers from features that go straight into the input projection."""
    height, width = (torch.tensor(extents) for extents in zip(*golden.case["sizes"], strict=True))
    tokens = model.input_projection({"c5": features}, BatchSizes(height=height, width=width), True)
    tokens = dataclasses.replace(tokens, features=model.encoder(tokens))
    decoded = model.decoder(tokens)
    reference = decoded.references[0]
    assert reference is not None
    return model.class_head(decoded.outputs), model.box_head(decoded.outputs, reference.centre_logit)


@CASES
@PRECISIONS
def test_transformer_outputs(shared: Path, name: str, dtype: torch.dtype) -> None:
    golden = Golden(shared / "golden", name)
    features = golden.normal("features", golden.expected["grad.features"].shape).to(dtype)
    logits, boxes = predict(transformer(golden, dtype), golden, features)
    for found, key in ((logits, "pred_logits"), (boxes, "pred_boxes")):
        np.testing.assert_allclose(found.detach(), golden.expected[key], rtol=0, atol=OUTPUTS[dtype])


@CASES
@PRECISIONS
def test_transformer_gradients(shared: Path, name: str, dtype: torch.dtype) -> None:
    golden = Golden(shared / "golden", name)
    model = transformer(golden, dtype)
    features = golden.normal("features", golden.expected["grad.features"].shape).to(dtype).requires_grad_()
    logits, boxes = predict(model, golden, features)
    total = (logits * golden.normal("cotangent_logits", logits.shape).to(dtype)).sum()
    (total + (boxes * golden.normal("cotangent_boxes", boxes.shape).to(dtype)).sum()).backward()
    ours = {**dict(model.named_parameters()), "features": features}
    compared = [key.removeprefix("grad.") for key in golden.expected if key.startswith("grad.")]
    assert len(compared) > 15
    for key in compared:
        found, wanted = ours[our_name(key)].grad, golden.expected[f"grad.{key}"]
        assert found is not None
        assert np.abs(found.numpy() - wanted).max() <= GRADIENTS * np.abs(wanted).max(), key


@pytest.fixture(scope="module")
def single_scale(shared: Path) -> tuple[Golden, SmcaForObjectDetection]:
    golden = Golden(shared / "golden", "official_r50_alone")
    switches = our_switches(golden.case["config"])
    model = small_model(**switches, backbone="resnet50", backbone_norm="frozen")
    model.load_state_dict(golden.weights(), strict=True)
    return golden, model


@pytest.mark.parametrize("batched", [False, True], ids=["alone", "padded batch"])
def test_whole_single_scale_model(single_scale: tuple[Golden, SmcaForObjectDetection], batched: bool) -> None:
    """In a padded batch each image gets the numbers it has alone."""
    golden, model = single_scale
    pictures = golden.images()
    with torch.no_grad():
        if batched:
            seen = [model(*padded_batch(pictures), intermediates=True).intermediates]
        else:
            seen = [model(picture[None], intermediates=True).intermediates for picture in pictures]
    logits = torch.cat([one.all_logits for one in seen], dim=1)
    boxes = torch.cat([one.all_boxes for one in seen], dim=1)
    np.testing.assert_allclose(logits, golden.expected["pred_logits"], rtol=0, atol=5e-5)
    np.testing.assert_allclose(boxes, golden.expected["pred_boxes"], rtol=0, atol=5e-6)
