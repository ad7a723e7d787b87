"""Checkpoint files of the authors' layouts, through `convert_file` and `smca.load`, give the authors' numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from smca.inference.loading import load
from smca.interchange.classes import coco_ids
from smca.interchange.convert import convert_file
from smca.interchange.convert import converted as converted_model
from smca.modeling.detector import SmcaForObjectDetection
from tests.modeling.official import Golden
from tests.modeling.tiny import padded_batch

TOLERANCE = 5e-6
CASES = ("official_r50_alone", "official_multiscale_dw_r50")


@pytest.fixture(scope="module", params=CASES)
def converted(
    request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Golden, SmcaForObjectDetection]:
    golden = Golden(shared / "golden", request.param)
    folder = tmp_path_factory.mktemp("checkpoint")
    conversion = convert_file(golden.write(folder / "checkpoint.pth"), folder / "model")
    assert (conversion.taken, conversion.fresh) == (len(golden.case["shapes"]), [])
    model = load(folder / "model", "cpu")
    assert isinstance(model, SmcaForObjectDetection)
    return golden, model


@pytest.mark.parametrize("batched", [False, True], ids=["alone", "padded batch"])
@torch.no_grad()
def test_every_layer_equals_the_authors(converted: tuple[Golden, SmcaForObjectDetection], batched: bool) -> None:
    """In a padded batch each image gets the numbers it has alone."""
    golden, model = converted
    pictures = golden.images()
    batches = [padded_batch(pictures)] if batched else [padded_batch([picture]) for picture in pictures]
    seen = [model(*batch, intermediates=True).intermediates for batch in batches]
    logits = torch.cat([one.all_logits for one in seen], dim=1)
    boxes = torch.cat([one.all_boxes for one in seen], dim=1)
    wanted = golden.expected["pred_logits"][..., list(coco_ids())]
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(boxes, golden.expected["pred_boxes"], rtol=0, atol=TOLERANCE)


@torch.no_grad()
def test_the_folded_form_gives_them_too(converted: tuple[Golden, SmcaForObjectDetection]) -> None:
    golden, model = converted
    output = model(*padded_batch(golden.images()))
    wanted = golden.expected["pred_logits"][-1][..., list(coco_ids())]
    np.testing.assert_allclose(output.logits, wanted, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(output.pred_boxes, golden.expected["pred_boxes"][-1], rtol=0, atol=TOLERANCE)


@torch.no_grad()
def test_without_its_guard_the_backbone_leaks_as_theirs_does(shared: Path) -> None:
    """What their code gives for a padded batch, and how far that is from the truth."""
    leaking = Golden(shared / "golden", "official_r50")
    model = converted_model(leaking.checkpoint()).model
    for module in model.backbone.modules():
        module._forward_pre_hooks.clear()
        module._forward_hooks.clear()
    seen = model(*padded_batch(leaking.images()), intermediates=True).intermediates
    wanted = leaking.expected["pred_logits"][..., list(coco_ids())]
    np.testing.assert_allclose(seen.all_logits, wanted, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(seen.all_boxes, leaking.expected["pred_boxes"], rtol=0, atol=TOLERANCE)
    truth = Golden(shared / "golden", "official_r50_alone").expected["pred_logits"][..., list(coco_ids())]
    assert np.abs(seen.all_logits.numpy() - truth)[:, 1].max() > 0.05
